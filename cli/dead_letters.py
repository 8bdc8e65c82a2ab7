"""The commands `faces2 dead-letters …`."""

import re
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from faces2.dead_letters.filters import Filter

app = typer.Typer(no_args_is_help=True, help="List, show, count and replay what could not be used.")

REASON = Annotated[list[str] | None, typer.Option("--reason", help="only of this reason; may be given several times")]
DEVICE = Annotated[
    str | None, typer.Option("--device", help="only of this controller (its MAC in any spelling) or this MQTT topic")
]
FROM = Annotated[str | None, typer.Option("--from", help="failed at this time or later; ISO 8601, UTC without a zone")]
UNTIL = Annotated[str | None, typer.Option("--until", help="failed before this time")]
JSON = Annotated[bool, typer.Option("--json", help="JSON instead of text")]


@app.command("list")
def list_letters(
    reason: REASON = None,
    device: DEVICE = None,
    since: FROM = None,
    until: UNTIL = None,
    limit: Annotated[int, typer.Option(min=0, help="the newest so many; 0: all, in the order of the topic")] = 50,
    as_json: JSON = False,
) -> None:
    """List dead letters, with the time of their replay; with --json one object a line."""
    from faces2.dead_letters import commands

    commands.list_letters(_filter(reason, device, since, until), limit, as_json)


@app.command()
def show(place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="as `list` shows it")]) -> None:
    """Show a dead letter whole, and what it would decode to with the present metadata."""
    from faces2.dead_letters import commands

    found = re.fullmatch(r"(\d{1,9}):(\d{1,18})", place)
    if not found:
        raise typer.BadParameter(f"{place!r} is not PARTITION:OFFSET, e.g. 0:17.")
    commands.show(int(found[1]), int(found[2]))


@app.command()
def stats(
    reason: REASON = None,
    device: DEVICE = None,
    since: FROM = None,
    until: UNTIL = None,
    by: Annotated[
        Literal["reason", "step", "topic", "device", "day"], typer.Option(help="what is counted by")
    ] = "reason",
    as_json: JSON = False,
) -> None:
    """Count dead letters."""
    from faces2.dead_letters import commands
    from faces2.dead_letters.stats import By

    commands.stats(_filter(reason, device, since, until), By(by), as_json)


@app.command()
def replay(
    reason: REASON = None,
    device: DEVICE = None,
    since: FROM = None,
    until: UNTIL = None,
    again: Annotated[bool, typer.Option("--again", help="also what was replayed before")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be sent, and send nothing")] = False,
) -> None:
    """Put dead letters back where they came from, each once."""
    from faces2.dead_letters import commands

    commands.replay(_filter(reason, device, since, until), again, dry_run)


def _filter(reason: list[str] | None, device: str | None, since: str | None, until: str | None) -> "Filter":
    from faces2.dead_letters.filters import Filter, parse_device, parse_time
    from faces2.models.dead_letter import Reason

    if unknown := set(reason or ()) - set(Reason):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: the reasons are {', '.join(Reason)}.")
    try:
        return Filter(
            frozenset(reason or ()),
            parse_device(device) if device else None,
            parse_time(since) if since else None,
            parse_time(until) if until else None,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
