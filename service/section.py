"""How settings are read: from the environment (and `.env`) once, and checked; an error names the variable."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65_535)]
Identifier = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # ~nobody: pydantic takes a ValueError for a wrong value, and this for our fault
        raise ValueError(str(error)) from None


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


class SettingsError(ValueError):
    """A setting is missing or wrong; the text names the variable, what it held and what is allowed."""


class Section(BaseSettings):
    """A part's settings."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True)


S = TypeVar("S", bound=Section)


def load(section: type[S], **overrides: object) -> S:
    """The section from the environment, fields given as `overrides` first.

    SettingsError names every wrong variable, its value and what is allowed.
    """
    try:
        return section(**overrides)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{Path('.env').absolute()} is no UTF-8 text: {error}") from None
    except ValidationError as error:
        raise SettingsError(
            "\n".join(_explain(section, e["loc"], e["msg"], e.get("input")) for e in error.errors())
        ) from None


def variable(section: type[Section], name: str) -> str:
    """The environment variable of a field."""
    alias = section.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else (section.model_config.get("env_prefix", "") + name).upper()


def _explain(section: type[Section], location: tuple[int | str, ...], message: str, held: object) -> str:
    place = str(location[0])
    field = next((n for n in section.model_fields if place.lower() in (n, variable(section, n).lower())), None)
    if field is None:
        return f"{place}: {message}"
    name = variable(section, field)
    if message == "Field required":
        return f"{name} is not set: {section.model_fields[field].description}"
    shown = "***" if section.model_fields[field].annotation is SecretStr else repr(held)
    return f"{name}={shown}: {message} ({section.model_fields[field].description})"
