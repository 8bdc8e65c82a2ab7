"""Kafka's and Beam's jars, by Maven, which verifies the checksum of each."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faces2.stack.shell import run

COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def fetch(pom: Path, target: Path, repository: Path, what: str) -> None:
    """Puts the pom's dependencies into the folder; StackError when they can not be downloaded."""
    with whole_or_not_at_all(target) as part:
        run(
            [
                *("mvn", "-q", "-B", "--strict-checksums", "-f", str(pom), COPY_DEPENDENCIES),
                *(f"-DoutputDirectory={part}", "-DincludeScope=runtime", f"-Dmaven.repo.local={repository}"),
            ],
            f"{what} can not be downloaded by Maven (it goes on where it stopped when you start again)",
        )


def link(target: Path, name: str) -> None:
    """A name beside the folder that does not change with the pom: what FLINK_JARS' default says."""
    part = target.with_name(f".{name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    part.symlink_to(target.name)
    part.replace(target.with_name(name))


@contextmanager
def whole_or_not_at_all(target: Path) -> Iterator[Path]:
    """A folder to build in, beside the target, which becomes the target when the block ends well."""
    for left in target.parent.glob(f".{target.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    yield part
    part.rename(target)
