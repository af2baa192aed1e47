"""What is missing or unhealthy in this home, each finding with the command that mends it. Changes nothing itself."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from console import health, platform
from console.ports import is_free
from treadle.errors import TreadleError
from treadle.project import Project, list_projects, load_project
from treadle.settings import CHECKOUT, Settings

PACKAGES = ("console", "flows", "serving", "tasks", "treadle")
LEAST_FREE_GB, ENOUGH_FREE_GB = 1.0, 5.0
PLANNED_AFTER = timedelta(minutes=3)

Finding = dict[str, Any]
"""`what` was looked at, `state` (good, note, bad), `detail` in plain words, and the command that would `mend` it."""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; a look that itself fails is a finding too."""
    looks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python,
        _layout,
        _packages,
        _disk,
        _projects,
        _services,
        _deployments,
        _ledger,
        _aliases,
        _governors,
    )
    findings: list[Finding] = []
    for look in looks:
        try:
            findings.extend(look(settings))
        except Exception as error:  # noqa: BLE001 - a broken part must not hide the others
            what = look.__name__.strip("_")
            findings.append(
                _bad(what, f"could not be looked at: {type(error).__name__}: {error}", "treadle doctor --json")
            )
    return findings


def _good(what: str, detail: str) -> Finding:
    return {"what": what, "state": "good", "detail": detail, "mend": None}


def _note(what: str, detail: str, mend: str) -> Finding:
    return {"what": what, "state": "note", "detail": detail, "mend": mend}


def _bad(what: str, detail: str, mend: str) -> Finding:
    return {"what": what, "state": "bad", "detail": " ".join(detail.split()), "mend": mend}


def _python(_settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == (3, 11):
        yield _good("python", f"{version}, {sys.executable}")
    else:
        yield _bad("python", f"{version}; Treadle is tested on 3.11", "make install PYTHON=python3.11")


def _layout(_settings: Settings) -> Iterator[Finding]:
    """`flows`, `tasks` and `serving` are common names: another package of that name would be run instead of ours."""
    foreign = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        origin = Path(spec.origin).parent if spec and spec.origin else None
        if origin != CHECKOUT / package:
            foreign.append(f"{package} comes from {origin or 'nowhere'}")
    if foreign:
        yield _bad("layout", "; ".join(foreign), f"cd {CHECKOUT} && .venv/bin/pip install --no-deps -e .")
    else:
        yield _good("layout", f"every package comes from {CHECKOUT}")


def _packages(_settings: Settings) -> Iterator[Finding]:
    lock = CHECKOUT / "requirements.lock"
    if not lock.is_file():
        yield _bad("packages", f"{lock} is missing", "git checkout requirements.lock")
        return
    wrong = [line for line in map(_differs, lock.read_text(encoding="utf-8").splitlines()) if line]
    if wrong:
        yield _bad(
            "packages",
            f"{len(wrong)} differ from the lock: {', '.join(wrong[:5])}",
            "touch requirements.lock; make install",
        )
    else:
        yield _good("packages", "as in requirements.lock")


def _differs(line: str) -> str | None:
    """How the installed package differs from a line of the lock; `None` when it does not."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line.strip())
    if not match:
        return None
    name, wanted = match.groups()
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    return None if found.split("+")[0] == wanted.split("+")[0] else f"{name} {found} instead of {wanted}"


def _disk(settings: Settings) -> Iterator[Finding]:
    free_gb = shutil.disk_usage(settings.home).free / 1e9
    detail = f"{free_gb:.1f} GB free at {settings.home}"
    if free_gb < LEAST_FREE_GB:
        yield _bad("disk", detail, f"free some space; {settings.state_dir / 'snapshots'} can be deleted")
    elif free_gb < ENOUGH_FREE_GB:
        yield _note("disk", detail, f"{settings.state_dir / 'snapshots'} can be deleted")
    else:
        yield _good("disk", detail)


def _projects(settings: Settings) -> Iterator[Finding]:
    names = list_projects(settings)
    broken = 0
    for name in names:
        try:
            load_project(name, settings)
        except TreadleError as error:
            broken += 1
            yield _bad(f"project {name}", str(error), f"edit {settings.projects_dir / name / 'project.yaml'}")
    if not names:
        yield _note("projects", "there are none", "treadle init NAME --from FILE --target COLUMN")
    elif not broken:
        yield _good("projects", ", ".join(names))


def _services(settings: Settings) -> Iterator[Finding]:
    if not platform.is_up(settings):
        yield from _ports(settings)
        return
    for row in platform.status(settings):
        log = settings.state_dir / "logs" / f"{row['name']}.log"
        if row["state"] != "running":
            yield _bad(row["name"], f"{row['state']}; its log is {log}", "treadle down; treadle up --detach")
        elif row["restarts"]:
            yield _note(row["name"], f"running, after {row['restarts']} restarts", f"tail {log}")
        else:
            yield _good(row["name"], f"running at {row['url']}" if row["url"] else "running")


def _ports(settings: Settings) -> Iterator[Finding]:
    wished = {"api": settings.api_port, "prefect": settings.prefect_port, "mlflow": settings.mlflow_port}
    taken = [f"{port} ({name})" for name, port in wished.items() if not is_free(settings.host, port)]
    if taken:
        yield _note("ports", f"the platform is down, and others hold {', '.join(taken)}", "treadle up --auto-ports")
    else:
        yield _good("ports", f"the platform is down; {', '.join(map(str, wished.values()))} are free")


def _deployments(settings: Settings) -> Iterator[Finding]:
    """Whether Prefect knows every project, and plans runs for every schedule that is on, as it does within a minute."""
    if not platform.is_up(settings):
        return
    url = f"{settings.prefect_url}/api"
    found = health.fetch(f"{url}/deployments/filter", {"limit": 200})
    missing = sorted(set(list_projects(settings)) - {deployment["name"] for deployment in found})
    if missing:
        yield _bad("deployments", f"Prefect does not know {', '.join(missing)}", "treadle down; treadle up --detach")
    else:
        yield _good("deployments", f"{len(found)} in Prefect")
    yield from _schedules(settings, url, found)


def _schedules(settings: Settings, url: str, deployments: list[dict[str, Any]]) -> Iterator[Finding]:
    scheduled = [one for one in deployments if not one["paused"] and any(way["active"] for way in one["schedules"])]
    unplanned = [one for one in scheduled if _is_old(one) and not _planned(url, one)]
    for one in unplanned:
        flow, log = one["entrypoint"].rpartition(".")[2], settings.state_dir / "logs" / "prefect.log"
        said = f"the schedule of {flow} is on, and Prefect plans no run of it; its log says why: {log}"
        yield _bad(f"schedules of {one['name']}", said, "treadle down; make install; treadle up --detach")
    if not unplanned:
        yield _good("schedules", f"{len(scheduled)} on, and runs of each are planned")


def _is_old(deployment: dict[str, Any]) -> bool:
    """Whether a deployment has been there for so long that its runs must be planned."""
    return datetime.now(UTC) - datetime.fromisoformat(deployment["updated"].replace("Z", "+00:00")) > PLANNED_AFTER


def _planned(url: str, deployment: dict[str, Any]) -> list[Any]:
    """A planned run of a deployment; nothing where there is none."""
    asked = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "limit": 1,
    }
    return health.fetch(f"{url}/flow_runs/filter", asked)


def _ledger(settings: Settings) -> Iterator[Finding]:
    """Whether the ledger's tables are those of this code; looks without migrating."""
    revision, head = _revisions(settings)
    if revision is None:
        yield _good("ledger", "not there yet; the first command that needs it makes it")
    elif revision == head:
        yield _good("ledger", f"revision {revision}")
    else:
        yield _bad("ledger", f"revision {revision} instead of {head}", "treadle models, which brings it up to date")


def _revisions(settings: Settings) -> tuple[str | None, str | None]:
    """The revision of the ledger, `None` where there is none yet, and that of this code."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    url = make_url(settings.ledger)
    head = ScriptDirectory(str(CHECKOUT / "treadle" / "ledger" / "migrations")).get_current_head()
    if url.drivername.startswith("sqlite") and not Path(url.database or "").is_file():
        return None, head
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() or "none", head
    finally:
        engine.dispose()


def _aliases(settings: Settings) -> Iterator[Finding]:
    """Whether MLflow calls champion what the ledger calls champion; the ledger is right."""
    if not Path(settings.mlruns_dir / "mlflow.db").is_file() and settings.mlflow_tracking_uri is None:
        return
    from treadle.ledger import Ledger
    from treadle.models.registry import Registry

    drifted = Registry(settings, Ledger.open(settings)).drifted_aliases()
    for sentence in drifted:
        yield _bad("aliases", sentence, "treadle promote NAME VERSION, as said")
    if not drifted:
        yield _good("aliases", "MLflow agrees with the ledger")


def _governors(settings: Settings) -> Iterator[Finding]:
    """Whether a breaker is open, a retrain waits to begin, or labels are set aside."""
    from treadle.ledger import Ledger
    from treadle.ledger.set_aside import batches
    from treadle.retraining.governor import Governor

    revision, head = _revisions(settings)
    if revision != head:
        return
    ledger = Ledger.open(settings)
    for project in _readable(settings):
        name, standing = project.name, Governor(ledger, project).standing()
        if standing.breaker:
            said = f"the breaker is open: {standing.breaker}"
            yield _note(f"retrains of {name}", said, f"treadle governor close {name}")
        if standing.asked:
            said = f"one was asked for at {standing.asked.at:%Y-%m-%d %H:%M}, and no train run has begun yet"
            yield _note(f"retrains of {name}", said, "treadle status, which says whether a worker runs")
        aside = sum(batch.labels for batch in batches(ledger, name))
        if aside:
            said = f"{aside} {'is' if aside == 1 else 'are'} set aside as suspicious and {'counts' if aside == 1 else 'count'} for nothing"
            yield _note(f"labels of {name}", said, f"treadle labels list {name}, then release or drop")


def _readable(settings: Settings) -> Iterator[Project]:
    """The projects whose file can be read; the others are findings already."""
    for name in list_projects(settings):
        with suppress(TreadleError):
            yield load_project(name, settings)
