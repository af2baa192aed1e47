"""What a search is asked, as a file."""

import json
from pathlib import Path

import numpy as np

from treadle.learning.search import SearchSpec, Start
from treadle.project import read_project
from treadle.settings import Settings


def test_a_spec_of_a_project_names_its_study_by_what_it_holds(spec, tmp_path):
    folder = tmp_path / "projects" / "toys"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(
        "{name: toys, problem: tabular-regression, data: {source: x.csv, target: y}, train: {families: [toy]}}"
    )
    project, settings = read_project(folder / "project.yaml"), Settings(home=tmp_path)
    paths = {"snapshot": spec.snapshot, "schema": spec.schema, "split": spec.split}
    made = SearchSpec.of(project, settings, **paths, start=[{"family": "toy", "params": {"slope": np.float64(2)}}])
    assert made.start == (Start("toy", {"slope": 2.0}),)
    assert (made.metric, made.trials, made.workers, made.families) == ("rmse", 30, 2, ("toy",))
    few = SearchSpec.of(project, settings, **paths, trials=3)
    assert (few.workers, few.folder) == (1, made.folder)
    made.save(tmp_path / "spec.json")
    assert SearchSpec.load(tmp_path / "spec.json") == made
    Path(spec.split).write_text(json.dumps({"train": ["t:1"], "valid": ["t:2"]}))
    assert SearchSpec.of(project, settings, **paths).folder != made.folder
