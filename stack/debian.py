"""Debian packages: installs those that are missing, and starts none of their services."""

import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faces2.stack.shell import StackError, find, is_root, run

JAVA_MINIMUM = 17
JAVA_PACKAGES = ("openjdk-17-jre-headless", "openjdk-21-jre-headless", "default-jre-headless")
POLICY = Path("/usr/sbin/policy-rc.d")
APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3")
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
SERVICES = {"mosquitto": "mosquitto", "redis-server": "redis-server", "postgresql": "postgresql"}
"""Services that their packages would start at the next boot, on the ports that we need."""


def missing(*, maven: bool, compiler: tuple[str, ...] = ()) -> list[str]:
    """The packages to install; Maven and a compiler only where they have something to do."""
    packages = [name for name in ("mosquitto", "redis-server", "util-linux", *compiler) if not installed(name)]
    if not postgres_folders() or not has_user("postgres"):
        packages.append("postgresql")
    if find("psql") is None:
        packages.append("postgresql-client")
    if java() is None:
        packages.append(JAVA_PACKAGES[0])
    if maven and find("mvn") is None:
        packages.append("maven")
    return packages


def install(packages: list[str]) -> None:
    """Installs the packages; StackError when it can not."""
    names = " ".join(packages)
    if find("apt-get") is None:
        raise StackError(f"These are missing, and there is no apt-get to install them: {names}; install them by hand.")
    if not is_root():
        raise StackError(f"Packages are missing and only root can install them: run `apt-get install {names}` as root.")
    resume = "it goes on where it stopped when you start again with the network up"
    with services_stay_off():
        run(["dpkg", "--configure", "-a"], "A package installation that was interrupted can not be finished", env=QUIET)
        run([*APT, "update"], f"Debian's package lists can not be downloaded ({resume})", env=QUIET)
        names_here = [_java_package() if name == JAVA_PACKAGES[0] else name for name in packages]
        command = [*APT, "install", "-y", "--no-install-recommends", *names_here]
        run(command, f"Debian's packages {names} can not be installed ({resume})", env=QUIET)
    _not_at_boot(packages)


def installed(package: str) -> bool:
    """Whether dpkg has the package, configured."""
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package], capture_output=True, text=True, check=False
    )
    return answer.stdout.startswith("ii")


def has_user(name: str) -> bool:
    """Whether the system knows the user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def postgres_folders() -> dict[int, Path]:
    """The programs' folder of every PostgreSQL server that Debian installed, by major version."""
    servers = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return {int(server.parts[-3]): server.parent for server in servers}


def java() -> str | None:
    """PATH's Java, if it is new enough."""
    path = shutil.which("java")
    return path if path and (_java_version(path) or 0) >= JAVA_MINIMUM else None


def require_java() -> None:
    """StackError when the Java that would be started is too old, though a newer one may be installed."""
    if java() is None:
        raise StackError(
            f"The first `java` of JAVA_HOME and PATH is older than {JAVA_MINIMUM}: set JAVA_HOME to the folder of "
            f"Java {JAVA_MINIMUM} or newer, e.g. one of /usr/lib/jvm."
        )


def _java_version(path: str) -> int | None:
    answer = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found[1]) if found else None


def _java_package() -> str:
    for name in JAVA_PACKAGES:
        answer = subprocess.run(["apt-cache", "policy", name], capture_output=True, text=True, check=False)
        if "Candidate:" in answer.stdout and "Candidate: (none)" not in answer.stdout:
            return name
    raise StackError(f"No package of Java {JAVA_MINIMUM} or newer is to be had here: install one and set JAVA_HOME.")


@contextmanager
def services_stay_off() -> Iterator[None]:
    """While packages are installed, none of their services starts; an administrator's own policy is left alone."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _not_at_boot(packages: list[str]) -> None:
    if find("systemctl"):
        for service in (SERVICES[name] for name in packages if name in SERVICES):
            subprocess.run(["systemctl", "disable", "--quiet", service], capture_output=True, check=False)
