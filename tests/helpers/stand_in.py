"""Running what stands in for somebody else's server, on this machine, for as long as a test needs it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from aiohttp import web
from aiohttp.test_utils import TestServer


class StandIn(Protocol):
    base: str

    def routes(self) -> Sequence[web.RouteDef]: ...


One = TypeVar("One", bound=StandIn)


@asynccontextmanager
async def serving(one: One) -> AsyncIterator[One]:
    """`base` is its address then, without a slash at the end."""
    app = web.Application()
    app.add_routes(one.routes())
    async with TestServer(app, host="127.0.0.1") as server:
        one.base = f"http://127.0.0.1:{server.port}"
        yield one
