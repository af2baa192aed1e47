"""What the documents name by a path, a setting, a key, a command or a heading is there, as it is written."""

import re
from importlib.util import find_spec

import pytest
from pydantic import BaseModel

from console.cli import app
from console.reference import pages as generated
from treadle.project import Project
from treadle.settings import CHECKOUT, Settings

PAGES = {
    str(page.relative_to(CHECKOUT)): page.read_text(encoding="utf-8")
    for page in [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")]
    if page.name != "CHANGELOG.md"  # it tells of what was
}
WRITTEN = [name for name in PAGES if CHECKOUT / name not in generated()]


def code_of(text):
    """What stands in backticks, and the lines of code blocks."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    text = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.M | re.S)
    indented = re.findall(r"^(?:    )+(\S.*)$", text, re.M)
    return [*re.findall(r"`([^`\n]+)`", text), *indented, *"".join(fenced).splitlines()]


def keys_of(part, prefix=""):
    for name, field in part.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        yield key
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from keys_of(kind, f"{key}.")


@pytest.mark.parametrize("name", PAGES)
def test_headings_that_are_linked_are_there(name):
    for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", PAGES[name]):
        page = (CHECKOUT / name).parent / target if target else CHECKOUT / name
        titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
        assert heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", PAGES)
def test_files_of_ours_that_are_named_are_there(name):
    ours = r"`((?:benchmarks|console|deploy|flows|projects|recipes|serving|tasks|tests|treadle|weights)/[\w./-]+)`"
    for path in re.findall(ours, PAGES[name]):
        assert (CHECKOUT / path).exists(), path


@pytest.mark.parametrize("name", PAGES)
def test_modules_and_targets_that_are_run_are_there(name):
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.M))
    for code in code_of(PAGES[name]):
        for module in re.findall(r"python -m ((?:benchmarks|console|serving|tests)[\w.]*)", code):
            assert find_spec(module), module
        if made := re.match(r"make ([a-z-]+)", code):
            assert made[1] in targets, code


@pytest.mark.parametrize("name", PAGES)
def test_settings_and_keys_that_are_named_are_there(name):
    known = {f"TREADLE_{field.upper()}" for field in Settings.model_fields}
    assert set(re.findall(r"TREADLE_[A-Z_]+", PAGES[name])) <= known
    keys = set(keys_of(Project))
    parts = {key for key in keys if any(other.startswith(f"{key}.") for other in keys)}
    named = re.findall(rf"`((?:{'|'.join(parts)})\.[a-z_]+)`", PAGES[name])
    assert {key for key in named if not key.endswith((".json", ".py"))} <= keys


@pytest.mark.parametrize("name", WRITTEN)
def test_commands_that_are_named_are_there_with_their_options(name):
    from typer.main import get_command

    for part in (part for code in code_of(PAGES[name]) for part in re.split(r"\s{2,}| #| / |[|;]", code)):
        for line in re.findall(r"(?<![\w./-])(?<!from )treadle [a-z][^`]*", part):
            command, words = get_command(app), line.split()[1:]
            assert words[0] in command.commands, line
            while words and words[0] in getattr(command, "commands", ()):
                command = command.commands[words.pop(0)]
            options = {option for parameter in command.params for option in parameter.opts}
            given = re.findall(r"(?<![\w-])--[a-z-]+", " ".join(words))
            assert set(given) <= options | {"--help", "--json"}, line
