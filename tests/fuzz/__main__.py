"""`make fuzz`: so many cases over all targets, on one core; or `--replay FILE`, the cases of a finding."""

import math
import random
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from faces2.service import logs
from tests.fuzz.engine import FindingError, Target, checked, fuzz
from tests.fuzz.structured import STRATEGIES, explore
from tests.fuzz.targets import SHARES, TARGETS

FOLDER = Path("out/fuzz")
STRUCTURED = 1 / 200
"""Examples of Hypothesis for each other case: it is some hundred times as slow."""


def main(
    cases: Annotated[int, typer.Option(min=1, help="how many, over all targets")] = 1_000_000,
    seed: Annotated[int | None, typer.Option(help="the same seed gives the same cases; printed")] = None,
    only: Annotated[str, typer.Option(help=f"one of {', '.join(t.name for t in TARGETS)}")] = "",
    replay: Annotated[Path | None, typer.Option(help="a file of out/fuzz")] = None,
) -> None:
    """Feed every entrance with rubbish."""
    logs.configure("fuzz", "ERROR")
    if replay is not None:
        sys.exit(again(replay))
    seed = random.SystemRandom().randrange(10**9) if seed is None else seed
    print(f"{cases:,} cases, SEED={seed}", flush=True)
    chosen = [target for target in TARGETS if only in ("", target.name)]
    if not chosen:
        raise typer.BadParameter(f"there is no {only}", param_hint="--only")
    sys.exit(1 if run(chosen, cases, seed) else 0)


def run(targets: Sequence[Target], cases: int, seed: int, folder: Path = FOLDER) -> list[FindingError]:
    """All targets; what is found is printed, kept in `folder`, and given back."""
    whole, findings, done, began = sum(SHARES[target.name] for target in targets), [], 0, time.monotonic()
    for target in targets:
        share = max(1, cases * SHARES[target.name] // whole)
        try:
            outcome = fuzz(target, share, seed)
            done += outcome.cases
            ends = ", ".join(f"{name} {count:,}" for name, count in outcome.counts.most_common())
            print(
                f"{target.name:>12} {outcome.cases:>9,} {outcome.cases / outcome.seconds:>8,.0f}/s  {ends}", flush=True
            )
            if target.name in STRATEGIES:
                done += explore(target, max(1, int(share * STRUCTURED)), seed)
        except FindingError as found:
            findings.append(found)
            file = found.keep(folder)
            print(f"FAILED {found}\n  again: .venv/bin/python -m tests.fuzz --replay {file}", flush=True)
    seconds = time.monotonic() - began
    print(f"{'all':>12} {done:>9,} {done / seconds:>8,.0f}/s  {seconds:.0f} s, {len(findings)} findings", flush=True)
    return findings


def again(file: Path) -> int:
    """The cases of a finding: 1 while they still fail."""
    name, cases = read(file.read_text())
    target = next(target for target in TARGETS if target.name == name)
    print(dict(checked(target, cases)))
    return 0


def read(text: str) -> tuple[str, list[Any]]:
    """What FindingError.text wrote."""
    content = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    names = {"inf": math.inf, "nan": math.nan, "Decimal": Decimal, "datetime": SimpleNamespace(datetime=datetime)}
    name, cases = eval(content, names)  # a file that we wrote
    return name, cases


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
