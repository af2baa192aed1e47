"""The command line as a shell sees it: exit codes, one line of error, one JSON value on standard output."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys

import pytest

from treadle.ledger import Ledger, Version
from treadle.models.signing import make_key, own_key, signing_dir
from treadle.settings import Settings

COMMANDS = [
    "init", "up", "down", "status", "train", "watch", "predict", "models", "promote", "rollback", "sign", "replay",
    "reset", "cost", "doctor", "demo", "audit",
]  # fmt: skip
PROJECT = """
name: shop
problem: tabular-classification
data: {source: data/shop.csv, target: churned}
"""


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text(PROJECT)
    return tmp_path


def run(home, *words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "console.cli", *words],
        env=dict(os.environ) | {"TREADLE_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def one_line(done):
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_help_fits_one_screen_and_names_every_command(home):
    done = run(home, "--help", COLUMNS="80")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) <= 34
    assert max(map(len, lines)) <= 80
    for command in [*COMMANDS, "trust", "keys", "release", "governor", "labels"]:
        assert any(line.strip().startswith(f"{command} ") for line in lines), command


@pytest.mark.parametrize("command", [*COMMANDS, "trust list", "trust add", "trust remove", "keys list", "audit verify"])
def test_every_command_takes_json(home, command):
    assert "--json" in run(home, *command.split(), "--help").stdout


def test_help_imports_nothing_heavy():
    heavy = {"prefect", "mlflow", "pandas", "numpy", "sqlalchemy", "pydantic", "httpx", "torch", "sklearn"}
    code = f"import sys, console.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_said_as_people_ask_for_it(home):
    from treadle import __version__

    assert run(home, "--version").stdout == f"treadle {__version__}\n"


def test_models_before_the_first_train_says_what_makes_one(home):
    done = run(home, "models", "shop")
    assert (done.returncode, done.stdout) == (0, "No version yet. `treadle train shop` makes one.\n")
    assert json.loads(run(home, "models", "--json").stdout) == []


def test_status_while_down_is_one_json_value(home):
    done = run(home, "status", "--json")
    assert done.returncode == 0
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows] == ["prefect", "mlflow", "api", "worker"]
    assert {row["state"] for row in rows} == {"down"}


def test_an_unknown_project_suggests_the_nearest(home):
    done = run(home, "train", "shpo", "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Did you mean 'shop'?" in one_line(done)


def test_a_bad_name_is_refused_in_one_line(home):
    done = run(home, "watch", "../etc")
    assert done.returncode == 2
    assert "cannot be a project's name" in one_line(done)


def test_a_bad_setting_names_the_variable(home):
    done = run(home, "status", TREADLE_API_PORT="abc")
    assert done.returncode == 2
    assert "TREADLE_API_PORT is 'abc'" in one_line(done)


def test_a_replay_without_the_platform_says_how_to_start_it(home):
    done = run(home, "replay", "shop", "--live")
    assert done.returncode == 5
    assert "treadle up --detach" in one_line(done)


def test_a_deployed_train_without_the_platform_is_unavailable(home):
    done = run(home, "train", "shop", "--deployed")
    assert done.returncode == 5
    assert "no worker" in one_line(done)


def test_models_of_a_new_home_is_an_empty_list(home):
    assert json.loads(run(home, "models", "--json").stdout) == []


def test_promote_without_versions_says_what_to_do(home):
    done = run(home, "promote", "shop")
    assert done.returncode == 2
    assert "treadle train shop" in one_line(done)


def test_reset_asks_for_yes_and_then_forgets(home):
    refused = run(home, "reset", "shop")
    assert refused.returncode == 2
    assert "--yes" in one_line(refused)
    assert json.loads(run(home, "reset", "shop", "--yes", "--json").stdout) == {
        "project": "shop",
        "versions_forgotten": 0,
    }


def test_cost_of_nothing_is_nothing(home):
    cost = json.loads(run(home, "cost", "shop", "--json").stdout)
    assert cost == {"project": "shop", "cpu_seconds": 0, "seconds": 0, "by_flow": [], "ready": []}


def test_down_while_down_is_no_error(home):
    assert json.loads(run(home, "down", "--json").stdout) == {"stopped": False, "ended": []}


def test_another_machines_key_is_trusted_and_not_any_more(home, tmp_path):
    make_key(Settings(home=tmp_path / "other"))
    (public,) = (signing_dir(Settings(home=tmp_path / "other")) / "trusted").iterdir()
    added = json.loads(run(home, "trust", "add", str(public), "--json").stdout)
    listed = json.loads(run(home, "trust", "list", "--json").stdout)
    assert {row["key"]: row["own"] for row in listed} == {public.stem: False, own_key(Settings(home=home)): True}
    assert json.loads(run(home, "trust", "remove", added["key"], "--json").stdout) == {
        "key": public.stem,
        "trusted": False,
    }
    assert run(home, "trust", "remove", public.stem).returncode == 2
    assert run(home, "trust", "remove", own_key(Settings(home=home))).returncode == 3


def test_sign_says_which_version_is_not_there(home):
    done = run(home, "sign", "shop", "7")
    assert done.returncode == 2
    assert "no version 7" in one_line(done)


def test_a_version_whose_bundle_is_not_what_was_registered_is_exit_code_4(home):
    settings = Settings(home=home)
    make_key(settings)
    lost = Version("shop", 1, "run", "mlruns/bundles/shop/1", "d" * 64, "linear", {}, {}, None)
    Ledger.open(settings).add_version(lost)
    done = run(home, "sign", "shop", "1")
    assert done.returncode == 4
    assert "Register the version again" in one_line(done)


def test_a_key_is_made_listed_and_revoked_and_the_audit_says_so(home):
    made = json.loads(
        run(home, "keys", "create", "front", "--role", "caller", "--project", "shop", "--ready", "--json").stdout
    )
    shown = run(home, "keys", "list").stdout
    assert made["id"] in shown
    assert made["key"] not in shown
    assert json.loads(run(home, "keys", "revoke", made["id"], "--json").stdout)["revoked"]
    again = run(home, "keys", "revoke", made["id"])
    assert again.returncode == 3
    assert "revoked before" in one_line(again)
    (listed,) = json.loads(run(home, "keys", "list", "--json").stdout)
    assert (listed["state"], listed["projects"], listed["ready"]) == ("revoked", ["shop"], True)
    rows = json.loads(run(home, "audit", "--json").stdout)
    assert [(row["what"], row["subject"]) for row in rows] == [("create key", made["id"]), ("revoke key", made["id"])]
    assert len(json.loads(run(home, "audit", "--last", "1", "--json").stdout)) == 1
    assert json.loads(run(home, "audit", "verify", "--json").stdout) == {"whole": True, "rows": 2, "trouble": None}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--role", "king"), "viewer, caller, trainer, admin"),
        (("--role", "caller", "--project", "shoo"), "Did you mean 'shop'"),
        (("--role", "caller", "--expires", "soon"), "90d"),
        (("--role", "admin", "--project", "shop"), "admin"),
        (("--role", "caller", "--rows-per-minute", "0"), "1 row"),
    ],
)
def test_a_key_that_cannot_be_made_is_one_line(home, words, says):
    done = run(home, "keys", "create", "front", *words)
    assert done.returncode == 2
    assert says in one_line(done)
    assert json.loads(run(home, "keys", "list", "--json").stdout) == []


def test_an_audit_that_was_changed_exits_1(home):
    run(home, "keys", "create", "front", "--role", "caller")
    with sqlite3.connect(home / ".treadle" / "ledger.db") as connection:
        connection.execute("DROP TRIGGER audit_keeps_UPDATE")
        connection.execute("UPDATE audit SET who = 'nobody'")
    done = run(home, "audit", "verify")
    assert done.returncode == 1
    assert "Row 1 was changed" in done.stdout


@pytest.fixture
def shop(home):
    """A ledger with a champion and two challengers of `shop`."""
    ledger = Ledger.open(Settings(home=home))
    for number in (1, 2, 3):
        ledger.add_version(Version("shop", number, f"run{number}", f"b/{number}", "d" * 64, "linear", {}, {}, None))
    ledger.promote("shop", 1, None, reason="first")
    return home


def test_a_release_is_begun_shown_and_stopped(shop):
    begun = json.loads(run(shop, "release", "start", "shop", "2", "--canary", "25", "--json").stdout)
    assert (begun["version"], begun["champion"], begun["mode"], begun["percent"]) == (2, 1, "canary", 25.0)
    run(shop, "release", "start", "shop", "3", "--shadow")
    newest, older = json.loads(run(shop, "release", "status", "shop", "--json").stdout)
    assert (newest["version"], newest["mode"], newest["state"]) == (3, "shadow", "running")
    assert (older["state"], older["reason"]) == ("stopped", "Version 3 takes its place.")
    said = run(shop, "release", "status").stdout
    assert "shop: version 3 against 1, shadow: running" in said
    stopped = run(shop, "release", "stop", "shop")
    assert "stopped" in stopped.stdout
    again = run(shop, "release", "stop", "shop")
    assert again.returncode == 2
    assert "No release of 'shop' runs" in one_line(again)
    told = [(row["what"], row["after"]) for row in json.loads(run(shop, "audit", "--json").stdout)]
    assert ("release canary", 2) in told
    assert ("release shadow", 3) in told


def test_a_release_is_advanced_by_hand(shop):
    run(shop, "release", "start", "shop", "2", "--shadow")
    advanced = json.loads(run(shop, "release", "advance", "shop", "--json").stdout)
    assert advanced["state"] == "advanced"
    champion = Ledger.open(Settings(home=shop)).champion("shop")
    assert (champion.version, champion.previous) == (2, 1)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("start", "shop", "2"), 2, "--canary 10"),
        (("start", "shop", "2", "--shadow", "--canary", "5"), 2, "--canary 10"),
        (("start", "shop", "9", "--shadow"), 2, "no version 9"),
        (("start", "shop", "1", "--shadow"), 3, "champion already"),
        (("start", "shoo", "1", "--shadow"), 2, "Did you mean 'shop'"),
        (("advance", "shop"), 2, "release start"),
    ],
)
def test_a_release_that_cannot_be_is_one_line(shop, words, code, says):
    done = run(shop, "release", *words)
    assert done.returncode == code
    assert says in one_line(done)
