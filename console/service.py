"""What the supervisor runs for services that need a word before they start: `python -m console.service NAME`.

mlflow clears what a killed former self left on its port; worker waits for Prefect and deploys the projects. Then the
process becomes the server itself. alerts carries alerts out. `run` is the Prefect server of one command and ends with
it, however that ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from console.supervision import end_strays
from treadle.settings import Settings

PREFECT_DEADLINE_S = 180.0
RUNS_AT_ONCE = 3
"""Runs that one worker starts at once: a train, and room for a watch and a score beside it."""


def become_mlflow(settings: Settings) -> None:
    """Become the MLflow server: one process, straight on the store that the steps write to."""
    end_strays(settings, set(), grace_s=2, service="mlflow")
    artifacts = settings.mlruns_dir / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", settings.tracking_uri),
        *("--default-artifact-root", str(artifacts)),
        *("--artifacts-destination", str(artifacts)),
        *("--host", settings.inner_host, "--port", str(settings.ports["mlflow"]), "--workers", "1"),
    ]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter


def become_worker(settings: Settings) -> None:
    """Wait for Prefect, mend what a crash left half done, deploy every project, and become the worker."""
    wait_for_prefect(settings.prefect_url)
    mend_registry(settings)
    from console.prefect_setup import WORK_POOL, set_up

    for name in set_up(settings):
        print(f"deployed {name}", flush=True)  # noqa: T201 - into the worker's log
    command = [
        *(sys.executable, "-m", "prefect", "worker", "start"),
        *("--pool", WORK_POOL, "--type", "process", "--name", WORK_POOL, "--limit", str(RUNS_AT_ONCE)),
    ]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter


def mend_registry(settings: Settings) -> None:
    """Finish registrations and promotions that a crash cut short; what ails MLflow must not keep the worker away."""
    from treadle.errors import TreadleError
    from treadle.ledger import Ledger
    from treadle.models.registry import Registry

    try:
        for said in Registry(settings, Ledger.open(settings)).repair():
            print(said, flush=True)  # noqa: T201 - into the worker's log
    except TreadleError as error:
        print(f"the registry was not looked at: {error}", flush=True)  # noqa: T201


def wait_for_prefect(url: str, deadline_s: float = PREFECT_DEADLINE_S) -> None:
    """Wait until the Prefect server answers; end this process if it does not, so that the supervisor tries again."""
    from console.health import answers

    deadline = time.monotonic() + deadline_s
    while not answers(f"{url}/api/health"):
        if time.monotonic() > deadline:
            sys.exit(
                f"Prefect did not answer at {url} within {deadline_s:.0f} s; its log is .treadle/logs/prefect.log."
            )
        time.sleep(0.2)


def serve_one_command(host: str, port: int) -> None:
    """Run a Prefect server until standard input ends, which it does when the command that holds it is gone."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="end with the command").start()
    import uvicorn

    uvicorn.run("prefect.server.api.server:create_app", factory=True, host=host, port=port, log_level="warning")


def main() -> None:
    """Run the service named on the command line."""
    match sys.argv[1:]:
        case ["mlflow"]:
            become_mlflow(Settings())
        case ["worker"]:
            become_worker(Settings())
        case ["alerts"]:
            from console.alerts import carry_on

            carry_on(Settings())
        case ["run", host, port]:
            serve_one_command(host, int(port))
        case _:
            sys.exit("usage: python -m console.service mlflow | worker | alerts | run HOST PORT")


if __name__ == "__main__":
    main()
