"""Other people's programs, run to their end: a failure is one sentence that says what to do."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence


class StackError(Exception):
    """What went wrong and what to do about it, in one sentence."""


def is_root() -> bool:
    """Whether packages can be installed and users switched."""
    return os.geteuid() == 0


def find(program: str) -> str | None:
    """The program's path; a plain user's PATH lacks the sbin folders."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin")


def die_with_parent(command: Sequence[str], user: str | None = None, signal: str = "TERM") -> list[str]:
    """The command under `setpriv`: it gets the signal when its parent dies, and runs as the user where we are root.

    Data may lie below a folder that only root may enter (/root): the one capability that such a user gets is to read
    and to enter folders.
    """
    prefix = ["setpriv", "--pdeathsig", signal]
    if user and is_root():
        prefix += [f"--reuid={user}", f"--regid={user}", "--init-groups"]
        prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        prefix += ["--securebits=+no_setuid_fixup"]  # without it access(2) ignores the capability
    return [*prefix, "--", *command]


def run(
    command: Sequence[str],
    what: str,
    *,
    user: str | None = None,
    env: dict[str, str] | None = None,
    given: str = "",
) -> str:
    """What it printed; StackError `<what>: <its last lines>` when it fails. It dies with us."""
    try:
        done = subprocess.run(
            die_with_parent(command, user),
            env={**os.environ, **(env or {})},
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise StackError(f"{what}: the program {error.filename} is missing") from None
    if done.returncode:
        raise StackError(f"{what}: {said(done.stdout) or f'exit status {done.returncode}'}")
    return done.stdout


def said(output: str, lines: int = 2) -> str:
    """The lines of an output that tell most: its first errors, else its last lines."""
    every = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in every if re.match(r"(E:|\[?ERROR|psql:.*ERROR|.*FATAL)", line)]
    return " | ".join(errors[:lines] or every[-lines:])[:600]
