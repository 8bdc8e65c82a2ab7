"""Prints what of requirements.lock the services need, hashes and all: the lock also holds the developers' tools.

A package is needed if pyproject.toml names it, or if one that is needed brought it; the lock says which did (`# via`).
"""

import re
import sys
import tomllib
from pathlib import Path


def runtime_lock(pyproject: str, lock: str) -> str:
    """The lock without what is there for an extra alone."""
    entries = [(_name(text), text) for text in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]]
    needed = {_name(each) for each in tomllib.loads(pyproject)["project"]["dependencies"]}
    if missing := needed - {name for name, _ in entries}:
        sys.exit(f"requirements.lock has no {', '.join(sorted(missing))}: make lock")
    while more := {name for name, text in entries if _brought_by(text) & needed} - needed:
        needed |= more
    return "".join(text for name, text in entries if name in needed)


def _name(text: str) -> str:
    """`uvicorn[standard]>=0.3 ; …` -> `uvicorn`"""
    return re.split(r"[^a-z0-9.-]", text.lower(), maxsplit=1)[0]


def _brought_by(text: str) -> set[str]:
    return set(re.findall(r"^ +# (?:via\b)? *([a-z0-9.-]+)", text, flags=re.MULTILINE))


if __name__ == "__main__":
    sys.stdout.write(runtime_lock(Path("pyproject.toml").read_text(), Path("requirements.lock").read_text()))
