"""What the code of a handler says about its route: the models it reads, who may call it, what it answers.

control/api/openapi.py documents every route from this, so nothing is written twice: a handler that reads a body with
`read(request, BookBody)` is documented by `BookBody`. The syntax tree of the handler is read, and of the functions of
its own module that it calls; nothing is run.
"""

import ast
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

from pydantic import BaseModel

_FACTOR_STEPS = frozenset({"_half", "_setting_up", "_in_browser"})
"""Functions of control/api/factors.py that ask who it is in their own way."""

_SUCCESS = range(200, 300)


@dataclass
class Reading:
    """`texts` and `days` are names read from the query one by one, without a model."""

    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    texts: list[str] = field(default_factory=list)
    days: list[str] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    media_type: str = "application/json"
    signed_in: bool = False
    roles: set[str] = field(default_factory=set)
    key: str | None = None
    """"required" or "accepted": the Idempotency-Key."""


def reading_of(handler: Callable[..., Any]) -> Reading:
    plain = inspect.unwrap(handler)
    module = sys.modules[plain.__module__]
    found = Reading()
    _read_function(module, plain.__name__, found, seen=set())
    return found


def summary_of(handler: Callable[..., Any]) -> str:
    """The docstring, or the name in words."""
    plain = inspect.unwrap(handler)
    return inspect.cleandoc(plain.__doc__) if plain.__doc__ else plain.__name__.replace("_", " ").strip().capitalize()


@cache
def _functions(module: ModuleType) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(inspect.getsource(module))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def _read_function(module: ModuleType, name: str, found: Reading, *, seen: set[str]) -> None:
    node = _functions(module).get(name)
    if node is None or name in seen:
        return
    seen.add(name)
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and _name(decorator.func) == "idempotent":
            found.key, found.signed_in = _demand(decorator), True
    called = []
    for inner in ast.walk(ast.Module(node.body, [])):
        if isinstance(inner, ast.Call):
            _read_call(module, inner, found)
            called.append(_name(inner.func))
    for one in called:
        _read_function(module, one, found, seen=seen)


def _read_call(module: ModuleType, call: ast.Call, found: Reading) -> None:
    name = _name(call.func)
    if name in {"read", "read_query"} and len(call.args) > 1:
        model = getattr(module, _name(call.args[1]), None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            found.body, found.query = (model, found.query) if name == "read" else (found.body, model)
    elif name == "require_actor" or name in _FACTOR_STEPS:
        found.signed_in = True
        found.roles |= {_name(one).lower() for one in call.args[1:]}
    elif name == "key_of":
        found.key = _demand(call)
    elif name == "day_of_query":
        found.days += [text for text in (_text(one) for one in call.args[1:]) if text]
    elif name == "get" and isinstance(call.func, ast.Attribute) and _name(call.func.value) == "query":
        found.texts += [text for text in (_text(one) for one in call.args[:1]) if text]
    elif name == "csv_answer":
        found.media_type = "text/csv"
    for keyword in call.keywords:
        _read_keyword(keyword, found)


def _read_keyword(keyword: ast.keyword, found: Reading) -> None:
    value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
    if keyword.arg == "status" and isinstance(value, int) and value in _SUCCESS:
        found.statuses.add(value)
    elif keyword.arg == "content_type" and isinstance(value, str):
        found.media_type = value


def _demand(call: ast.Call) -> str:
    said = [one.value.value for one in call.keywords if one.arg == "required" and isinstance(one.value, ast.Constant)]
    return "required" if said == [True] else "accepted"


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
