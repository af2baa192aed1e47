"""The command line `treadle`: reads the words, calls the platform's parts, shows the answer.

Everything heavy is imported inside the command that needs it, so that `treadle --help` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.access_cli import audit_app, keys_app
from console.alerts_cli import alerts_app
from console.faces_cli import faces_app
from console.governor_cli import governor_app, labels_app
from console.options import Json
from console.options import read_settings as _settings
from console.ready_cli import ready_app
from console.release_cli import release_app
from console.trust_cli import trust_app

if TYPE_CHECKING:
    from treadle.settings import Settings

app = typer.Typer(
    name="treadle",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Name = Annotated[str, typer.Argument(help="The project: a folder in projects/.", metavar="NAME")]
At = Annotated[str | None, typer.Option(help="Event time, ISO 8601; now, when left out.", metavar="TIME")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, metavar="PORT")]
Deployed = Annotated[bool, typer.Option("--deployed", help="Run in the platform's worker instead of here.")]


def _say_version(wanted: bool) -> None:
    if wanted:
        from treadle import __version__

        typer.echo(f"treadle {__version__}")
        raise typer.Exit


@app.callback()
def _before_all(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", callback=_say_version, is_eager=True, hidden=True)
    ] = False,
) -> None:
    """The machine-learning platform of a small team. `COMMAND --help` says more."""


@app.command()
def init(
    name: Name,
    source: Annotated[str, typer.Option("--from", help="CSV, Parquet or JSON Lines file.", metavar="FILE")],
    target: Annotated[str, typer.Option(help="The column to predict.", metavar="COLUMN")],
    json: Json = False,
) -> None:
    """Make a project from a table."""
    from console import answers
    from console.output import answering, give

    with answering() as answer:
        from console.platform import redeploy
        from treadle.scaffold import init_project

        settings = _settings()
        made = init_project(name, Path(source), target, settings)
        redeploy(settings)
        give(answer, answers.as_record(made), json, lambda made: answers.initialised(name, made))


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when all is healthy.")] = False,
    api_port: Port = None,
    prefect_port: Port = None,
    mlflow_port: Port = None,
    auto_ports: Annotated[bool, typer.Option("--auto-ports", help="Take free ports where ours are taken.")] = False,
    json: Json = False,
) -> None:
    """Start Prefect, MLflow, a worker, the API and the console."""
    from console import answers
    from console.output import answering, give
    from console.progress import say

    with answering() as answer:
        from console import platform

        settings = _settings(api_port=api_port, prefect_port=prefect_port, mlflow_port=mlflow_port)
        say("Starting the platform …")
        with answers.ended_by_signals():
            settings = platform.start(settings, auto_ports, say)
            if detach:
                give(answer, platform.status(settings), json, answers.addresses)
                return
            try:  # from here on an interrupt must stop what was started, also while the addresses are printed
                give(answer, platform.status(settings), json, answers.addresses)
                say("Ctrl-C stops all of it.")
                platform.follow(settings, say)
                say("The platform was stopped by another command.")
            except KeyboardInterrupt:
                say("Stopping …")
                platform.stop(settings)
                say("Stopped.")


@app.command()
def down(json: Json = False) -> None:
    """Stop the platform."""
    from console.output import answering, give

    with answering() as answer:
        from console import answers, platform, runs

        settings = _settings()
        ended = runs.under_way(settings)
        give(answer, {"stopped": platform.stop(settings), "ended": ended}, json, answers.stopped)


@app.command()
def status(json: Json = False) -> None:
    """Say how each service is."""
    from console.output import answering, give, table

    with answering() as answer:
        from console import platform

        rows = platform.status(_settings())
        give(answer, rows, json, lambda rows: table(rows, ["name", "state", "url", "pid", "uptime_s", "restarts"]))


@app.command()
def train(
    name: Name,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials of the search.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Minutes of the search.")] = None,
    at: At = None,
    deployed: Deployed = False,
    json: Json = False,
) -> None:
    """Turn the wheel once: from the table to a registered version."""
    from console import answers
    from console.output import answering, give

    with answering() as answer:
        from console.platform import is_up, redeploy

        settings = _settings()
        arguments = {"trials": trials, "minutes": minutes, "at": at}
        summary = _run_flow(settings, "train", name, arguments, deployed)
        redeploy(settings)
        url = settings.api_url if is_up(settings) else None
        give(answer, summary, json, lambda summary: answers.trained(summary, url))


@app.command()
def watch(name: Name, at: At = None, deployed: Deployed = False, json: Json = False) -> None:
    """Look at the newest predictions: does the model still hold?"""
    from console import answers
    from console.output import answering, give

    with answering() as answer:
        give(answer, _run_flow(_settings(), "watch", name, {"at": at}, deployed), json, answers.watched)


@app.command()
def predict(
    name: Name,
    file: Annotated[str, typer.Argument(help="CSV, Parquet or JSON Lines file, or a URL.", metavar="FILE")],
    to: Annotated[Path, typer.Option(help="The .csv or .parquet to write.", metavar="OUT")],
    version: Annotated[int | None, typer.Option(min=1, help="Another version than the champion.")] = None,
    record: Annotated[bool, typer.Option("--record", help="Watch these rows too, and take labels of them.")] = False,
    json: Json = False,
) -> None:
    """Answer every row of a table."""
    from console.output import answering, give, pairs

    with answering() as answer:
        source = file if "://" in file else str(Path(file).resolve())
        arguments = {"source": source, "target_path": str(to.resolve()), "version": version, "record": record}
        give(answer, _run_flow(_settings(), "score", name, arguments), json, pairs)


@app.command()
def models(name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None, json: Json = False) -> None:
    """List versions, aliases and metrics."""
    from console.output import answering, give, table

    with answering() as answer:
        from console import versions

        rows = versions.list_versions(_settings(), name)
        none = f"No version yet. `treadle train {name or 'NAME'}` makes one."
        columns = ["name", "version", "aliases", "metrics", "run_id"]
        give(answer, rows, json, lambda rows: table(rows, columns) if rows else none)


@app.command()
def promote(
    name: Name, version: Annotated[int | None, typer.Argument(metavar="[VERSION]")] = None, json: Json = False
) -> None:
    """Put a version online; without VERSION the challenger."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import versions

        give(answer, versions.promote(_settings(), name, version), json, pairs)


@app.command()
def rollback(name: Name, json: Json = False) -> None:
    """Put the previous version online again."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import versions

        give(answer, versions.rollback(_settings(), name), json, pairs)


@app.command()
def sign(name: Name, version: Annotated[int, typer.Argument(metavar="VERSION")], json: Json = False) -> None:
    """Sign a version whose bundle is what was registered."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import trust

        give(answer, trust.sign(_settings(), name, version), json, pairs)


@app.command()
def replay(
    name: Name,
    start: Annotated[str | None, typer.Option("--from", help="Event time at which it begins.", metavar="TIME")] = None,
    every: Annotated[str | None, typer.Option(help="Length of a window, such as 30d.", metavar="LENGTH")] = None,
    delay: Annotated[str | None, typer.Option(help="Event time until a label comes, 7d.", metavar="LENGTH")] = None,
    stream: Annotated[str | None, typer.Option(help="Later rows than the project's source.", metavar="FILE")] = None,
    live: Annotated[bool, typer.Option("--live", help="Send them to the running platform instead.")] = False,
    json: Json = False,
) -> None:
    """Compare retraining policies on a past stream.

    Without --live nothing has to run: the rows before --from train a model, the others are lived through window by
    window by four policies. With --live the stream is sent to the running platform as traffic, two weeks between looks.
    """
    from console import answers
    from console.output import answering, give

    with answering() as answer:
        from console import replays

        settings = _settings()
        if not live:
            give(answer, replays.replay_here(settings, name, stream, start, every, delay), json, replays.compared)
            return
        arguments = replays.live_arguments(settings, stream, start, every, delay)
        give(answer, _run_flow(settings, "replay", name, arguments), json, answers.replayed)


@app.command()
def reset(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    json: Json = False,
) -> None:
    """Forget a model's versions, predictions and labels; keep its project."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console import versions

        give(answer, versions.reset(_settings(), name, sure=yes), json, pairs)


@app.command()
def erase(
    name: Name,
    subject: Annotated[str, typer.Option(help="Whose rows, by the project's privacy.subject.", metavar="VALUE")],
    json: Json = False,
) -> None:
    """Remove all rows of one person from ledger and files."""
    from console.output import answering, give, pairs

    with answering() as answer:
        from console.privacy import erase_subject

        give(answer, erase_subject(_settings(), name, subject), json, pairs)


@app.command()
def cost(name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None, json: Json = False) -> None:
    """Say what was spent."""
    from console import answers
    from console.output import answering, give

    with answering() as answer:
        from console import versions

        give(answer, versions.cost(_settings(), name), json, answers.spent)


app.add_typer(trust_app, name="trust")
app.add_typer(release_app, name="release")
app.add_typer(governor_app, name="governor")
app.add_typer(labels_app, name="labels")
app.add_typer(ready_app, name="ready")
app.add_typer(faces_app, name="faces")
app.add_typer(alerts_app, name="alerts")
app.add_typer(keys_app, name="keys")
app.add_typer(audit_app, name="audit")


@app.command()
def doctor(json: Json = False) -> None:
    """Say what is missing or unhealthy here, and what mends it."""
    from console import answers
    from console.output import answering, give

    with answering() as answer:
        from console.doctor import examine

        findings = examine(_settings())
        healthy = all(finding["state"] != "bad" for finding in findings)
        give(answer, {"healthy": healthy, "findings": findings}, json, answers.examined)
    sys.exit(0 if healthy else 1)


@app.command()
def demo(json: Json = False) -> None:
    """Live through a year of bike rentals: the whole wheel."""
    from console.output import answering, give
    from console.progress import say

    with answering() as answer:
        from console import answers
        from console.demo import run_demo

        with answers.ended_by_signals():
            give(answer, run_demo(_settings(), say), json, answers.lived)


def _run_flow(
    settings: Settings, flow: str, name: str, arguments: dict[str, Any], deployed: bool = False
) -> dict[str, Any]:
    """Check the project first, so that a mistyped name does not wait for servers; then run the flow."""
    from console import runs
    from treadle.project import load_project

    load_project(name, settings)
    if deployed:
        return runs.run_deployed(settings, flow, name, arguments)
    return runs.run_here(settings, flow, {"project": name} | arguments)


def main() -> None:
    """Run the command line."""
    app(prog_name="treadle")


if __name__ == "__main__":
    main()
