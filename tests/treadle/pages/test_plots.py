import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from treadle.pages.plots import draw_plots
from treadle.problems import load_problem
from treadle.tables.schema import Column, Schema

REGRESSION, CLASSIFICATION = load_problem("tabular-regression"), load_problem("tabular-classification")
IMPORTANCE = [{"column": f"column {i} $x^", "importance": 1 / (i + 1) - 0.05, "spread": 0.01} for i in range(22)]


def schema_of(classes=None):
    return Schema(columns=(Column(name="price $ per_unit", kind="number"),), target="price $ per_unit", classes=classes)


def answers(rows, classes, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, rows)
    scores = rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[y]
    return y, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def check(paths, names):
    assert [path.stem for path in paths] == names
    for path in paths:
        image = imread(path)
        assert image.shape[0] > 200
        assert image.shape[1] > 400
        assert image.std() > 0.02, f"{path.name} is blank"


@pytest.mark.parametrize("labels", [("<=50K", ">50K"), ("a", "b", "c"), tuple(f"class {i:02}" for i in range(20))])
def test_classification(tmp_path, labels):
    y, answer = answers(800, len(labels))
    paths = draw_plots(tmp_path / "new", CLASSIFICATION, schema_of(labels), y, answer, importance=IMPORTANCE)
    check(paths, ["roc_pr", "calibration", "confusion", "importance"])


def test_one_class_or_three_rows_can_be_drawn(tmp_path):
    _, answer = answers(40, 2)
    check(
        draw_plots(tmp_path, CLASSIFICATION, schema_of(("no", "yes")), np.zeros(40, dtype=int), answer),
        ["roc_pr", "calibration", "confusion"],
    )
    y, answer = answers(3, 3)
    check(draw_plots(tmp_path, CLASSIFICATION, schema_of(("a", "b", "c")), y, answer)[:1], ["roc_pr"])


@pytest.mark.parametrize("timed", [True, False])
def test_regression(tmp_path, timed):
    rng = np.random.default_rng(0)
    answer = rng.gamma(2, 80, 900)
    y = answer + rng.normal(scale=20, size=900)
    times = np.datetime64("2011-04-01", "us") + np.arange(900) * np.timedelta64(1, "h") if timed else None
    check(draw_plots(tmp_path, REGRESSION, schema_of(), y, answer, times=times), ["predicted", "residuals"])


def test_a_constant_answer_and_a_perfect_one_can_be_drawn(tmp_path):
    y = np.arange(40.0)
    check(draw_plots(tmp_path, REGRESSION, schema_of(), y, np.full(40, 3.0)), ["predicted", "residuals"])
    check(draw_plots(tmp_path, REGRESSION, schema_of(), y, y), ["predicted", "residuals"])


def test_no_global_state_is_touched(tmp_path):
    code = "import sys, treadle.pages.plots\nassert 'matplotlib' not in sys.modules\n"
    code += "import numpy as np\nfrom pathlib import Path\nfrom treadle.problems import load_problem\n"
    code += "from treadle.tables.schema import Schema\n"
    code += "treadle.pages.plots.draw_plots(Path(sys.argv[1]), load_problem('tabular-regression'),"
    code += " Schema(columns=(), target='y'), np.arange(50.), np.arange(50.)[::-1])\n"
    code += "assert 'matplotlib.pyplot' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
