"""The settings as a Markdown table: docs/settings.md is this text, and a test holds the two together."""

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from faces2.service.settings import SECTIONS, Section, variable


def settings_table() -> str:
    """One table a section: variable, default, meaning."""
    head = (
        "# Settings\n\nA setting is a variable of the environment, or else a line of `.env`. `faces2 up` reads them "
        "for\nall parts: a change counts after `faces2 down` and `faces2 up`.\n"
    )
    return head + "".join(_section(section) for section in SECTIONS)


def _section(section: type[Section]) -> str:
    rows = "".join(
        f"| `{variable(section, name)}` | {_default(section, name)} | {field.description} |\n"
        for name, field in section.model_fields.items()
    )
    return f"\n## {section.__doc__}\n\n| variable | default | meaning |\n| --- | --- | --- |\n{rows}"


def _default(section: type[Section], name: str) -> str:
    field = section.model_fields[name]
    if field.default_factory:
        return "made of others"
    if field.default is PydanticUndefined or field.annotation is SecretStr:
        return "required"
    return "" if field.default is None else f"`{field.default}`"
