"""A project file is read strictly, and what is wrong with one is one line that names the key."""

from datetime import timedelta

import pytest
import yaml

from treadle.errors import BadProject, NotFound
from treadle.project import check_name, list_projects, load_project

LEAST = {
    "name": "shop",
    "problem": "tabular-classification",
    "data": {"source": "data/shop.csv", "target": "churned"},
}


@pytest.fixture
def write(settings):
    """Writes projects/shop/project.yaml from the least project and changes, or from text."""

    def make(changes=None, *, text=None):
        folder = settings.projects_dir / "shop"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "project.yaml"
        content = yaml.safe_dump(LEAST | (changes or {}), allow_unicode=True) if text is None else text
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def test_the_least_project_has_a_default_for_everything(write, settings):
    write()
    project = load_project("shop", settings)
    assert project.folder == (settings.projects_dir / "shop").resolve()
    assert project.source == str(project.folder / "data/shop.csv")
    assert project.validation.max_bad_share == 0.05
    assert project.retrain.cooldown == timedelta(hours=6)
    assert project.train.families == ("gradient-boosting", "linear")


def test_urls_are_left_as_written(write, settings):
    url = "sqlite:////var/shop.db"
    write({"data": {"source": url, "query": "select 1", "target": "churned"}})
    assert load_project("shop", settings).source == url


def test_the_digest_is_of_what_the_file_means(write, settings):
    write()
    first = load_project("shop", settings).digest
    write(text="# a comment\n" + yaml.safe_dump(dict(reversed(LEAST.items()))))
    assert load_project("shop", settings).digest == first
    write({"split": {"seed": 1}})
    assert load_project("shop", settings).digest != first


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"retrain": {"policy": "every-window", "every": "0s"}},
            "retrain.every: nothing can be done every 0 seconds; write",
        ),
        ({"watch": {"every": "0h"}}, "watch.every: nothing can be done every 0 seconds; write"),
        ({"promot": {}}, "unknown key 'promot'. Did you mean 'promote'?"),
        ({"retrain": {"cooldwn": "6h"}}, "unknown key 'retrain.cooldwn'. Did you mean 'cooldown'?"),
        ({"retrain": {"cooldown": "6 hours"}}, "retrain.cooldown"),
        ({"split": {"test": 1.5}}, "split.test"),
        ({"problem": "tabular-magic"}, "problem"),
        ({"data": {"source": "x.csv"}}, "'data.target' is missing"),
        ({"data": {"source": "x.csv", "target": "y", "types": {"age": "nmber"}}}, "data.types.age"),
        ({"validate": {"on_failure": "ignore"}}, "validate.on_failure"),
        ({"name": "Shop"}, "name"),
        ({"name": "other"}, "the folder is 'shop'"),
    ],
)
def test_a_wrong_key_or_value_is_named_in_one_line(write, settings, changes, says):
    path = write(changes)
    with pytest.raises(BadProject) as caught:
        load_project("shop", settings)
    said = str(caught.value)
    assert says in said
    assert str(path) in said
    assert "\n" not in said


@pytest.mark.parametrize("text", ["", "- a list", "name: [unclosed", "just words", b"name: \xff\xfe", "\x00"])
def test_what_is_no_project_file_is_said_in_one_line(write, settings, text):
    path = write(text=text)
    with pytest.raises(BadProject) as caught:
        load_project("shop", settings)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_project_suggests_the_nearest(write, settings):
    write()
    with pytest.raises(NotFound, match="Did you mean 'shop'"):
        load_project("shpo", settings)


def test_projects_are_listed_by_name(write, settings):
    assert list_projects(settings) == []
    write()
    (settings.projects_dir / "empty").mkdir()
    assert list_projects(settings) == ["shop"]


@pytest.mark.parametrize("name", ["", "Shop", "1shop", "my shop", "../shop", "shop_", "ü", "a" * 64, "shop\n"])
def test_names_that_are_no_folder_model_and_url_at_once(name):
    with pytest.raises(BadProject):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "shop-2", "a" * 63])
def test_names_that_are(name):
    assert check_name(name) == name
