"""Writes the sample settings file and the README's table from the definitions in control/config.py."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from control.config_reading import Key, keys


def sample() -> str:
    """A settings file in which every key stands with its default, commented out."""
    parts = ["# Holdspace settings. Every line that is commented out shows the default."]
    ordered = sorted(keys(), key=lambda key: key.section != "")  # TOML wants top-level keys before the sections
    for section, members in groupby(ordered, key=lambda key: key.section):
        parts.append(f"\n[{section}]" if section else "")
        parts.extend(_sample_lines(members))
    return "\n".join(parts) + "\n"


def _sample_lines(members: Iterable[Key]) -> Iterable[str]:
    for key in members:
        if key.sentence:
            yield f"# {key.sentence}"
        if key.is_secret:
            yield f"# (or by the environment: {key.variable}, {key.variable}_FILE)"
        yield f"# {key.name} = {_as_toml(key.default)}"


def table() -> str:
    """The settings as a Markdown table."""
    lines = ["| key | default | what it does |", "|---|---|---|"]
    for key in keys():
        default = "" if key.default in (None, "", (), PydanticUndefined) else f"`{_as_toml(key.default)}`"
        lines.append(f"| `{key.path}` | {default} | {key.sentence} |")
    return "\n".join(lines) + "\n"


def _as_toml(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | Path):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_as_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {_as_toml(item)}' for key, item in value.items()) + " }" if value else "{}"
    return str(value)
