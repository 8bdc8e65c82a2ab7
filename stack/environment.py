"""Where the stack lives: the home folder with `.env`, the data folder, the cache, and what the programs inherit."""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

import dotenv

from faces2.service.settings import StackSettings, load

REPOSITORY = Path(__file__).resolve().parents[1]
DEPLOY = REPOSITORY / "deploy"
SOCKET_PATH_LIMIT = 90
"""Bytes; Linux allows 107, and supervisord binds a name with its process id behind it."""


@dataclass(frozen=True)
class Folders:
    """Absolute paths. One stack is one data folder; many share a cache."""

    home: Path
    data: Path
    cache: Path

    @property
    def run(self) -> Path:
        """Configuration as it was filled in, the supervisor's socket, the journal."""
        return self.data / "run"

    @property
    def logs(self) -> Path:
        """One file a program."""
        return self.data / "logs"

    @property
    def socket(self) -> Path:
        """The supervisor's socket: in the run folder, or in a short place when that path is too long for a socket."""
        path = self.run / "supervisor.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
            return path
        short = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path("/run" if os.access("/run", os.W_OK) else "/tmp") / f"faces2-{short}.sock"  # noqa: S108

    @property
    def journal(self) -> Path:
        """Every acknowledged frame of a bounded run."""
        return self.run / "journal.jsonl"

    @property
    def kafka_jars(self) -> Path:
        """The broker's jars; another pom is another folder."""
        return self.cache / f"kafka-3.9.1-{digest(DEPLOY / 'kafka' / 'pom.xml')}"

    @property
    def beam_jars(self) -> Path:
        """Beam's and Flink's jars; another pom is another folder."""
        return self.cache / f"beam-2.70.0-{digest(DEPLOY / 'beam' / 'pom.xml')}"

    @property
    def mosquitto_journal(self) -> Path:
        """Mosquitto's plugin; another source is another file."""
        return self.cache / f"mosquitto-journal-{digest(DEPLOY / 'mosquitto' / 'journal.c')}.so"

    @property
    def timescale_tree(self) -> Path:
        """PostgreSQL 17 with TimescaleDB: a Debian 13 tree."""
        return self.cache / "timescaledb-pg17"


def enter() -> Folders:
    """Goes to the home folder and completes the environment that every program inherits.

    Home is the current folder if it has a `.env`, else the repository. What the environment says wins over `.env`.
    """
    if not Path(".env").exists():
        os.chdir(REPOSITORY)
    settings = load(StackSettings)  # first: it says what is wrong with `.env`
    dotenv.load_dotenv(Path(".env").absolute(), override=False)
    folders = Folders(Path.cwd(), settings.data, settings.cache)
    if java_home := os.environ.get("JAVA_HOME"):
        os.environ["PATH"] = f"{java_home}/bin:{os.environ.get('PATH', os.defpath)}"
    os.environ.setdefault("CERTGEN_DIR", str(folders.data / "certs"))
    os.environ.setdefault("FLINK_WORK_DIR", str(folders.data / "flink"))
    os.environ.setdefault("FLINK_JARS", str(folders.beam_jars))
    _no_proxy_for_our_own()
    return folders


def _no_proxy_for_our_own() -> None:
    """Our parts are asked directly, whatever proxy is set; programs differ in the name that they read."""
    names = ("no_proxy", "NO_PROXY")
    hosts = [host.strip() for name in names for host in os.environ.get(name, "").split(",")]
    listed = ",".join(dict.fromkeys(host for host in (*hosts, "127.0.0.1", "localhost") if host))
    os.environ.update(dict.fromkeys(names, listed))


def write_dotenv() -> bool:
    """Makes `.env` in the current folder from `.env.example`, with random passwords; False if there is one."""
    target = Path(".env")
    if target.exists():
        return False
    text = with_passwords((REPOSITORY / ".env.example").read_text())
    write(target, text, mode=0o600)
    dotenv.load_dotenv(target.absolute(), override=False)
    return True


def choose(settings: Mapping[str, str]) -> list[str]:
    """Writes settings into `.env`, which then hold for every command; those that were not there so."""
    changed = [name for name, value in settings.items() if os.environ.get(name) != value]
    for name in changed:
        dotenv.set_key(Path(".env"), name, settings[name], quote_mode="never")
        os.environ[name] = settings[name]
    return [f"{name}={settings[name]}" for name in changed]


def with_passwords(example: str) -> str:
    """The example with a random password for each variable that ends in _PASSWORD and has no value."""
    return re.sub(r"^(\w+_PASSWORD)=$", lambda m: f"{m[1]}={secrets.token_urlsafe(18)}", example, flags=re.MULTILINE)


def write(target: Path, text: str, mode: int = 0o644) -> None:
    """Writes a file whole or not at all, with its mode from the first byte on."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    part.replace(target)


def fill(template: Path, target: Path, values: dict[str, object]) -> Path:
    """A configuration file with its ${NAME}s filled in; KeyError names one that has no value."""
    write(target, Template(template.read_text()).substitute({name: str(value) for name, value in values.items()}))
    return target


def digest(*files: Path) -> str:
    """Eight hex digits of the files' content."""
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:8]
