"""The command `faces2`."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

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


@app.command(rich_help_panel=STACK)
def up() -> None:
    """Install what is missing, start everything in the background, return when it is ready."""
    from faces2.stack import commands

    commands.up()


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
    runner: Annotated[Literal["direct", "flink"], typer.Option(help="direct: bounded; flink: embedded")] = "flink",
    mode: Annotated[
        Literal["full", "process", "sink"],
        typer.Option(help="full: raw to table and processed; process: raw to processed; sink: processed to table"),
    ] = "full",
    max_records: Annotated[int | None, typer.Option("--max", help="direct: end after so many records")] = None,
) -> None:
    """Decode frames and write them to TimescaleDB."""
    if max_records is not None and runner != "direct":
        raise typer.BadParameter("--max is for --runner direct: Flink's job has no end.")
    if runner == "flink":
        share_metrics(load(FlinkSettings).work_dir / "metrics")
    from faces2.beam_pipeline.graph import Mode
    from faces2.beam_pipeline.main import RunnerName
    from faces2.beam_pipeline.main import main as decode

    decode(RunnerName(runner), Mode(mode), max_records)


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
    """Runs the command; a wrong setting is a sentence, not a stack trace."""
    try:
        app()
    except SettingsError as error:
        print(f"faces2: {error}", file=sys.stderr)
        sys.exit(2)
