"""What Prefect is told, by a real server of Prefect's: schedules are on from the first champion, and then people's."""

import os
import subprocess
import sys

import pytest

from treadle.ledger import Ledger, Version
from treadle.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

STORY = """
from console import prefect_setup
from console.platform import prefect_server, wait_for_server
from tasks.schedules import SERVED, turn_schedules_on
from treadle.ledger import Ledger, Version
from treadle.settings import Settings

settings = Settings()
prefect_setup.PAGE = 3  # there are seven deployments


def told(client):
    prefect_setup.set_up(settings)
    return shown(client)


def shown(client):
    found = [client.read_deployment_by_name(f"{flow}/shop") for flow in ("train", "watch")]
    print(*(one.schedules[0].active for one in found), SERVED in found[0].tags)
    return found[1]


with prefect_server(settings) as url:
    wait_for_server(url)
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        told(client)
        turn_schedules_on.fn("shop")
        shown(client)
        Ledger.open(settings).promote("shop", 1, None, reason="first")
        turn_schedules_on.fn("shop")
        watch = shown(client)
        client.update_deployment_schedule(watch.id, watch.schedules[0].id, active=False)
        turn_schedules_on.fn("shop")
        told(client)
        Ledger.open(settings).forget("shop")
        told(client)
        Ledger.open(settings).add_version(Version("shop", 2, "run2", "b/2", "d" * 64, "linear", {}, {}, None))
        Ledger.open(settings).promote("shop", 2, None, reason="first again")
        told(client)
        print(len(prefect_setup._ours(client)))
"""


def test_a_schedule_that_a_person_turned_off_stays_off(tmp_path):
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text("name: shop\nproblem: tabular-regression\ndata: {source: a.csv, target: y}\n")
    ledger = Ledger.open(Settings(home=tmp_path))
    ledger.add_version(Version("shop", 1, "run1", "b/1", "d" * 64, "linear", {}, {}, None))
    environment = dict(os.environ) | {"TREADLE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", STORY], env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "False False False",  # nothing to watch yet
        "False False False",
        "True True True",  # the first champion
        "True False True",  # a person turned one off, and it stays so
        "False False False",  # it was reset
        "True True True",
        "7",
    ]
