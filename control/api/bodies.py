"""Reads request bodies: JSON into a pydantic model that refuses unknown fields. Raises Malformed or Invalid only."""

from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from control.errors import Invalid, Malformed


class Body(BaseModel):
    """The parent of every request body."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class EmptyBody(Body):
    """For actions that need no words."""


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


def _in_words(problem: Any) -> dict[str, str]:
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in problem["loc"])
    return {"pointer": pointer, "detail": problem["msg"].removeprefix("Value error, ")}
