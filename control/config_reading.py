"""Reads the settings: a TOML file, then HOLDSPACE_SECTION__KEY, then HOLDSPACE_SECTION__KEY_FILE for secrets.

Later sources win. Anything unknown or out of bounds raises one SettingsError that names each key, its value (never a
secret's) and what was wanted; the server does not start on a guess.
"""

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from control.config import Settings

PREFIX = "HOLDSPACE_"
CONFIG_VARIABLE = "HOLDSPACE_CONFIG"  # path of the TOML file
DEFAULT_FILE = Path("holdspace.toml")


class SettingsError(Exception):
    """What is wrong with the settings, one line per mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclasses.dataclass(frozen=True)
class Key:
    """One setting: `server.port`, or `demo` at the top."""

    section: str
    name: str
    annotation: Any
    default: Any
    sentence: str

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def variable(self) -> str:
        return PREFIX + (f"{self.section}__{self.name}" if self.section else self.name).upper()

    @property
    def is_secret(self) -> bool:
        """May come from a file; is never shown."""
        return "SecretStr" in str(self.annotation) or self.annotation is SecretStr or self.path == "database.url"

    @property
    def is_text(self) -> bool:
        return self.is_secret or "str" in str(self.annotation) or "Path" in str(self.annotation)


def keys() -> Iterator[Key]:
    """Every setting, in the order of the definitions."""
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, BaseModel):
            for key, inner in type(default).model_fields.items():
                yield Key(name, key, inner.annotation, inner.default, _one_line(inner.description))
        elif dataclasses.is_dataclass(default) and not isinstance(default, type):
            sentences = _attribute_docstrings(type(default))
            for inner_field in dataclasses.fields(default):
                value = getattr(default, inner_field.name)
                yield Key(name, inner_field.name, inner_field.type, value, _one_line(sentences.get(inner_field.name)))
        else:
            yield Key("", name, field.annotation, default, _one_line(field.description))


def read(environment: Mapping[str, str] | None = None, file: Path | None = None) -> Settings:
    """The settings from `file` (or HOLDSPACE_CONFIG, or ./holdspace.toml if it is there) and the environment."""
    environment = os.environ if environment is None else environment
    known = {key.path: key for key in keys()}
    mistakes: list[str] = []
    tree: dict[str, Any] = {}
    sources: dict[str, str] = {}
    _read_file(_file_to_read(environment, file), known, tree, sources, mistakes)
    _read_environment(environment, known, tree, sources, mistakes)
    if mistakes:
        raise SettingsError(mistakes)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError([_in_words(item, known, sources) for item in error.errors()]) from None
    if "media.development" not in sources and settings.server.is_loopback:
        settings = settings.model_copy(update={"media": dataclasses.replace(settings.media, development=True)})
    return settings


def _file_to_read(environment: Mapping[str, str], file: Path | None) -> Path | None:
    if file is not None:
        return file
    if CONFIG_VARIABLE in environment:
        return Path(environment[CONFIG_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _read_file(
    file: Path | None, known: Mapping[str, Key], tree: dict[str, Any], sources: dict[str, str], mistakes: list[str]
) -> None:
    if file is None:
        return
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        mistakes.append(f"settings file {file}: can't be read ({error.strerror})")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        mistakes.append(f"settings file {file}: is not TOML ({error})")
        return
    sections = {key.section for key in known.values()}
    for name, value in content.items():
        if name in sections and not isinstance(value, dict):
            mistakes.append(f"{name} = {value!r}: wanted a section [{name}] (in {file})")
            continue
        items = value.items() if name in sections else [("", value)]
        for inner, setting in items:
            path = f"{name}.{inner}" if inner else name
            if path not in known:
                mistakes.append(_unknown(path, setting, known, str(file)))
                continue
            _put(tree, known[path], setting)
            sources[path] = str(file)


def _read_environment(
    environment: Mapping[str, str],
    known: Mapping[str, Key],
    tree: dict[str, Any],
    sources: dict[str, str],
    mistakes: list[str],
) -> None:
    by_variable = {key.variable: key for key in known.values()}
    from_files = {key.variable + "_FILE": key for key in known.values() if key.is_secret}
    ours = {name: text for name, text in environment.items() if name.startswith(PREFIX) and name != CONFIG_VARIABLE}
    for name, text in sorted(ours.items()):
        if name in by_variable:
            key = by_variable[name]
            _put(tree, key, text if key.is_text and not _is_collection(key) else _parsed(text, key))
            sources[key.path] = name
        elif name not in from_files:
            path = name.removeprefix(PREFIX).lower().replace("__", ".")
            mistakes.append(_unknown(path, text, known, name))
    for name in sorted(ours.keys() & from_files.keys()):
        key = from_files[name]
        try:
            _put(tree, key, Path(ours[name]).read_text(encoding="utf-8").strip())
            sources[key.path] = name
        except (OSError, UnicodeDecodeError) as error:
            mistakes.append(f"{key.path}: the file {ours[name]} named by {name} can't be read ({error})")


def _is_collection(key: Key) -> bool:
    return any(word in str(key.annotation) for word in ("tuple", "Mapping", "list", "dict"))


def _parsed(text: str, key: Key) -> Any:
    """An environment value read as TOML would read it; a list may also be written with commas."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if _is_collection(key):
            return [part.strip() for part in text.split(",") if part.strip()]
        return text


def _put(tree: dict[str, Any], key: Key, value: Any) -> None:
    if value == "" and key.default is None:
        return  # TOML has no null: an empty text says "not set", as the sample file does
    if key.section:
        tree.setdefault(key.section, {})[key.name] = value
    else:
        tree[key.name] = value


def _unknown(path: str, value: Any, known: Mapping[str, Key], source: str) -> str:
    near = difflib.get_close_matches(path, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    looks_secret = any(word in path for word in ("secret", "password", "token", "key", "url"))
    shown = "…" if looks_secret else repr(value)
    return f"{path} = {shown}: there is no such setting (in {source}){hint}"


_WANTED = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "wanted a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "wanted a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "wanted true or false"),
    **dict.fromkeys(("tuple_type", "list_type"), "wanted a list"),
    "string_type": "wanted text",
}


def _in_words(error: Any, known: Mapping[str, Key], sources: Mapping[str, str]) -> str:
    """One pydantic error as a line for people."""
    path = ".".join(str(part) for part in error["loc"][:2])
    key = known.get(path)
    said = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "wanted")
    wanted = _WANTED.get(error["type"], said)
    if key is None:
        return f"{path}: {wanted}" if path else wanted
    shown = "…" if key.is_secret else repr(error["input"])
    source = f" (from {sources[path]})" if path in sources else ""
    return f"{path} = {shown}: {wanted}{source}"


def _one_line(description: str | None) -> str:
    return " ".join((description or "").split())


def _attribute_docstrings(of: type) -> dict[str, str]:
    """The string under each field of a dataclass, as pydantic reads it for our own sections."""
    import ast
    import inspect
    import textwrap

    body = ast.parse(textwrap.dedent(inspect.getsource(of))).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101  the source of a class is a class
    found: dict[str, str] = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[field.target.id] = inspect.cleandoc(str(after.value.value))
    return found
