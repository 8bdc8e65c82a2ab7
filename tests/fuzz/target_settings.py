"""Settings from the environment: a section, or a SettingsError that names the variable and tells no secret."""

import os
import tempfile
from collections import Counter
from contextlib import chdir
from pathlib import Path
from random import Random
from unittest.mock import patch

from faces2.service.settings import SECTIONS, Section, SettingsError, load, variable
from tests.fuzz import mutations
from tests.fuzz.engine import Case

BY_NAME = {section.__name__: section for section in SECTIONS}
SECRET = "not-to-be-shown"
TEXTS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1",
        "1.5",
        "65536",
        "5s",
        "nan",
        "inf",
        "1e400",
        "9" * 5000,
        "true",
        "off",
        "None",
        "[]",
        "{}",
    ),
    *(
        "~",
        "~nobody-of-this-name/x",
        "/",
        "/dev/null",
        "a" * 5000,
        "é",
        "\udcff",
        "１",
        "'",
        '"',
        "#",
        "$HOME",
        "\n",
        "\\",
    ),
)


class Environment:
    """(the section's name, {variable: text}, what `.env` holds)."""

    name = "settings"
    batch = 50

    def cases(self, rng: Random, count: int) -> list[Case]:
        """Some variables of one section."""
        return [_case(rng, rng.choice(SECTIONS)) for _ in range(count)]

    def check(self, cases: list[Case]) -> Counter[str]:
        """Each is read or refused."""
        with tempfile.TemporaryDirectory(prefix="faces2-fuzz-") as folder, chdir(folder):
            return Counter(_one(BY_NAME[name], texts, dotenv) for name, texts, dotenv in cases)


def _case(rng: Random, section: type[Section]) -> Case:
    names = [variable(section, name) for name in section.model_fields]
    texts = {name: _text(rng) for name in rng.sample(names, rng.randint(1, len(names)))}
    held = "".join(f"{name}={_text(rng)}\n" for name in rng.sample(names, 1) if "PASSWORD" not in name)
    dotenv = mutations.data(rng, held.encode("utf-8", "surrogateescape")) if rng.random() < 0.3 else b""
    texts = {name: SECRET + text if "PASSWORD" in name else text for name, text in texts.items()}
    return section.__name__, texts, dotenv


def _text(rng: Random) -> str:
    text = rng.choice(TEXTS) if rng.random() < 0.7 else mutations.text(rng, rng.choice(("127.0.0.1", "9092", "1 day")))
    return text.replace("\x00", "0")  # no environment can hold it


def _one(section: type[Section], texts: dict[str, str], dotenv: bytes) -> str:
    Path(".env").write_bytes(dotenv)
    with patch.dict(os.environ, texts):
        try:
            loaded = load(section)
        except SettingsError as error:
            names = [variable(section, name) for name in section.model_fields]
            assert any(name in str(error) for name in [".env", *names])
            assert SECRET not in str(error)
            return "refused"
    assert SECRET not in repr(loaded)
    return "read"
