"""Reads what a request says into pydantic models that refuse unknown names: the JSON body, the query of the address.

A handler names the model it reads; control/api/openapi.py documents the route from that very model.
"""

from typing import Annotated, Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control import paging
from control.errors import Invalid, Malformed


class Body(BaseModel):
    """The parent of every request body. Strict: "25" is no number and "yes" no answer to a yes-or-no question."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, strict=True)


class EmptyBody(Body):
    """For actions that need no words."""


class Query(BaseModel):
    """The parent of what may stand behind the `?` of an address: text, so it is read leniently ("25" is a number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class NoQuery(Query):
    """For addresses that take none."""


class PageQuery(Query):
    """One page of a list (control/paging.py)."""

    limit: Annotated[int, Field(ge=1, le=paging.MOST_PAGE)] = paging.DEFAULT_PAGE
    cursor: Annotated[str, Field(max_length=paging.MOST_CURSOR_LENGTH)] | None = None


M = TypeVar("M", bound=BaseModel)


async def read(request: web.Request, model: type[M]) -> M:
    """The body as `model`. An absent body is read as {}."""
    raw = await request.read()
    if raw and request.content_type != "application/json":
        raise Malformed("content_type_wrong", "Send the body as application/json.", status=415)
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        raise Malformed("json_malformed", "The body is not JSON.")
    raise Invalid("body_invalid", "Some fields are not right.", errors=[_in_words(problem) for problem in problems])


Q = TypeVar("Q", bound=Query)


def read_query(request: web.Request, model: type[Q]) -> Q:
    """The query as `model`. Raises Malformed("query_invalid"), also for a name that stands there twice."""
    names = [name for name, _ in request.query.items()]  # keys() names each once
    if len(names) != len(set(names)):
        raise Malformed("query_invalid", "A name stands in the address twice.")
    if any("\x00" in text for pair in request.query.items() for text in pair):
        raise Malformed("query_invalid", "The address holds a character that no text has.")
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
    raise Malformed(
        "query_invalid", "Something in the address is not right.", errors=[_in_words(problem) for problem in problems]
    )


def _in_words(problem: Any) -> dict[str, str]:
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in problem["loc"])
    return {"pointer": pointer, "detail": problem["msg"].removeprefix("Value error, ")}
