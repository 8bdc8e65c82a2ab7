"""TimescaleDB where Debian 12 has none: PostgreSQL 17 and TimescaleDB of Debian 13, a tree of files beside the system.

It needs no chroot and no mounts: its programs are started with the tree's own loader and libraries. apt verifies the
packages.
"""

import shutil
from pathlib import Path

from faces2.stack import debian
from faces2.stack.jars import whole_or_not_at_all
from faces2.stack.shell import run

RELEASE = "trixie"
PACKAGES = ("mmdebstrap", "debian-archive-keyring")
"""What fetches the tree."""
MAJOR = 17
PROGRAMS = f"usr/lib/postgresql/{MAJOR}/bin"
UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/lib/*/libLLVM*", "var", "boot")

WRAPPER = """#!/bin/sh
bin=$(dirname "$0"); lib=$bin/../../../{libraries}
exec "$lib/{loader}" --library-path "$lib" --argv0 "$0" "$0.bin" "$@"
"""


def fetch(target: Path) -> None:
    """Makes the tree; StackError when it, or what fetches it, can not be downloaded."""
    if packages := [name for name in PACKAGES if not debian.installed(name)]:
        debian.install(packages)
    with whole_or_not_at_all(target) as part:
        run(
            [
                *("mmdebstrap", "--quiet", "--variant=extract", f"--include=postgresql-{MAJOR}-timescaledb"),
                *('--aptopt=Acquire::Retries "3"', RELEASE, str(part)),
            ],
            "TimescaleDB can not be downloaded from Debian 13 (it is tried again at the next start)",
        )
        for pattern in UNUSED:
            for path in part.glob(pattern):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        wrap(part)


def wrap(tree: Path) -> None:
    """Replaces the two programs that are started from outside by scripts that start them with the tree's own loader."""
    loader = next(tree.glob("usr/lib/*-linux-gnu*/ld-linux-*.so.*"))
    script = WRAPPER.format(libraries=loader.parent.name, loader=loader.name)
    for name in ("postgres", "initdb"):
        program = tree / PROGRAMS / name
        program.rename(program.with_name(f"{name}.bin"))
        program.write_text(script)
        program.chmod(0o755)
