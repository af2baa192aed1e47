"""What the documents name exists, and what exists is named."""

import importlib
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
import yaml

from treadle.families import FAMILIES
from treadle.problems import PROBLEMS
from treadle.project import list_projects, load_project
from treadle.settings import CHECKOUT, Settings

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def test_every_command_is_in_the_readme_and_every_command_in_it_exists():
    from console.cli import app

    known = {command.callback.__name__ for command in app.registered_commands}
    known |= {group.name or group.typer_instance.info.name for group in app.registered_groups}
    assert set(re.findall(r"treadle ([a-z]+)", README)) <= known
    for name in known - {"cost", "reset"}:
        assert re.search(rf"treadle {name}|/ {name}", README), name


def test_every_link_in_the_documents_leads_somewhere():
    pages = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


def test_entrypoints_of_prefect_yaml_are_flows_by_module():
    deployments = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    for deployment in deployments:
        assert "/" not in deployment["entrypoint"]
        module, _, name = deployment["entrypoint"].rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("name", list_projects(Settings(home=CHECKOUT)))
def test_example_projects_are_valid(name):
    assert load_project(name, Settings(home=CHECKOUT)).name == name


def test_families_and_problems_are_documented():
    text = (CHECKOUT / "docs" / "project.md").read_text(encoding="utf-8")
    for name in [*FAMILIES, *PROBLEMS]:
        assert name in text, name


def test_no_module_of_ours_hides_an_installed_library():
    installed = set(sys.stdlib_module_names) | {
        top for tops in importlib.metadata.packages_distributions() for top in [tops]
    }
    for folder in ("flows", "tasks"):
        names = {path.stem for path in Path(CHECKOUT, folder).glob("*.py")} - {"__init__"}
        assert not names & installed, names & installed


def test_a_flow_can_be_read_at_a_glance():
    for path in Path(CHECKOUT, "flows").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, path.name
