"""The command `faces2`."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from faces2.cli import dead_letters
from faces2.service.could_not import CouldNotError
from faces2.service.settings import FlinkSettings, SettingsError, SimulatorSettings, load, variable
from faces2.service.shared_metrics import share_metrics

app = typer.Typer(
    name="faces2",
    help="Ingest for FACES2 building controllers: MQTT to TimescaleDB over Kafka and Apache Beam, losing nothing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

STACK = "The native stack"
SERVICES = "The services, each a process of its own"
TOOLS = "Tools"

app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=TOOLS)


@app.command(rich_help_panel=STACK)
def up(
    flink: Annotated[
        Literal["embedded", "cluster"] | None,
        typer.Option(help="FLINK_MODE from now on: within the pipeline's process, or a cluster of its own"),
    ] = None,
) -> None:
    """Install what is missing, start everything in the background, return when it is ready."""
    from faces2.stack import commands

    commands.up(flink)


@app.command(rich_help_panel=STACK)
def down() -> None:
    """Stop everything; the data stays."""
    from faces2.stack import commands

    commands.down()


@app.command(rich_help_panel=STACK)
def status() -> None:
    """Show each part's state; exit status 0 only if all are running and ready."""
    from faces2.stack import commands

    commands.status()


@app.command(rich_help_panel=STACK)
def logs(
    name: Annotated[str, typer.Argument(help="a part, as `faces2 status` names it")],
    lines: Annotated[int, typer.Option(help="how many of the last lines")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with new lines")] = False,
) -> None:
    """Print a part's log."""
    from faces2.stack import commands

    commands.logs(name, lines, follow)


@app.command(rich_help_panel=STACK)
def run(
    seconds: Annotated[
        float, typer.Option("--for", help="end after so many seconds and check every row; 0: until Ctrl-C")
    ] = 0,
) -> None:
    """Start everything, show it live, stop it at the end."""
    from faces2.stack import commands

    commands.run(seconds)


@app.command(rich_help_panel=SERVICES)
def certgen(
    init_only: Annotated[bool, typer.Option(help="make the CA and Mosquitto's certificate, then end")] = False,
) -> None:
    """Serve the certificate API."""
    from faces2.certgen.main import main as serve

    serve(init_only=init_only)


@app.command(rich_help_panel=SERVICES)
def bridge() -> None:
    """Carry messages from MQTT to Kafka."""
    from faces2.bridge.main import main as carry

    carry()


@app.command(rich_help_panel=SERVICES)
def pipeline(
    runner: Annotated[
        Literal["direct", "flink"], typer.Option(help="direct: bounded; flink: as FLINK_MODE says")
    ] = "flink",
    mode: Annotated[
        Literal["full", "process", "sink"],
        typer.Option(help="full: raw to table and processed; process: raw to processed; sink: processed to table"),
    ] = "full",
    max_records: Annotated[int | None, typer.Option("--max", help="direct: end after so many records")] = None,
) -> None:
    """Decode frames and write them to TimescaleDB."""
    if max_records is not None and runner != "direct":
        raise typer.BadParameter("--max is for --runner direct: Flink's job has no end.")
    if runner == "flink" and load(FlinkSettings).mode == "embedded":
        share_metrics(load(FlinkSettings).work_dir / "metrics")
    from faces2.beam_pipeline.graph import Mode
    from faces2.beam_pipeline.main import RunnerName
    from faces2.beam_pipeline.main import main as decode

    decode(RunnerName(runner), Mode(mode), max_records)


@app.command(rich_help_panel=SERVICES)
def workers() -> None:
    """Start Python workers as the TaskManagers of this host ask for them (FLINK_MODE=cluster)."""
    share_metrics(load(FlinkSettings).work_dir / "metrics")
    from faces2.runners.pool import main as pool

    pool()


@app.command(rich_help_panel=SERVICES)
def watchdog() -> None:
    """Restart the stack's parts that run and do not answer; `faces2 up` starts it."""
    from faces2.stack.watchdog import main as watch

    watch()


@app.command(rich_help_panel=SERVICES)
def waiting() -> None:
    """Put frames of unknown devices back as soon as the metadata knows them."""
    from faces2.dead_letters.main import main as wait

    wait()


def _of_simulator(name: str) -> Any:
    """The option that goes before a field of SimulatorSettings."""
    field = SimulatorSettings.model_fields[name]
    return typer.Option(help=f"{field.description} ({variable(SimulatorSettings, name)})")


@app.command(rich_help_panel=SERVICES)
def simulate(
    controllers: Annotated[int | None, _of_simulator("controllers")] = None,
    interval: Annotated[float | None, _of_simulator("interval")] = None,
    rate: Annotated[float | None, _of_simulator("rate")] = None,
    seed: Annotated[int | None, _of_simulator("seed")] = None,
    duration: Annotated[float | None, _of_simulator("duration")] = None,
    journal: Annotated[Path | None, _of_simulator("journal")] = None,
) -> None:
    """Play the controllers: certificates, mTLS, sensor frames."""
    from faces2.simulator.main import main as play

    given = {
        "controllers": controllers,
        "interval": interval,
        "rate": rate,
        "seed": seed,
        "duration": duration,
        "journal": journal,
    }
    play(**{name: value for name, value in given.items() if value is not None})


Since = Annotated[
    str | None,
    typer.Option("--from", help="first record: a time (UTC), how long ago (2h) or partition:offset; all there is"),
]
Until = Annotated[str | None, typer.Option("--until", help="where it ends, not included; the topic's end now")]


def _quiet_imports(name: str) -> None:
    """Beam warns of packages that nobody here needs when it is imported; a user's terminal is no place for that."""
    from faces2.service import logs as json_logs

    json_logs.configure(name, "ERROR")


@app.command(rich_help_panel=TOOLS)
def audit(
    since: Since = None,
    until: Until = None,
    wait: Annotated[float, typer.Option(min=0, help="seconds that the pipeline is given to read the stretch")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="status 1 also for what could not be judged")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Prove that every frame's readings are in the table, or the frame in the dead letters.

    Exit status 0: nothing is missing or different; 1: something is; 2: it could not be found out.
    """
    _quiet_imports("audit")
    from faces2.audit.main import main as prove

    prove(since, until, wait, as_json, strict)


@app.command(rich_help_panel=TOOLS)
def backfill(
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say how much it is, and write nothing")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="do not go on where the same command was ended")] = False,
) -> None:
    """Write a stretch of the raw topic to the table once more, beside a running stream.

    It can be repeated, and goes on where it was ended (exit status 130) or killed.
    """
    _quiet_imports("backfill")
    from faces2.beam_pipeline.backfill import main as write_again

    write_again(since, until, dry_run, restart)


@app.command(rich_help_panel=TOOLS)
def topics() -> None:
    """Create Kafka's topics with their settings; safe to repeat."""
    from faces2.io.topics import main as create

    create()


@app.command(rich_help_panel=TOOLS)
def settings() -> None:
    """Print every setting as the Markdown of docs/settings.md."""
    from faces2.service.describe import settings_table

    typer.echo(settings_table(), nl=False)


def main() -> None:
    """Runs the command; a wrong setting, or a system that is away, is a sentence and not a stack trace."""
    try:
        app()
    except (SettingsError, CouldNotError) as error:
        print(f"faces2: {error}", file=sys.stderr)
        sys.exit(2)
