"""A process that ends right before or right after one step."""

from typing import Any

import pytest


class Killed(BaseException):
    """The process ended here: nothing may catch this."""


def kill(target: object, name: str, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """The process ends right before or right after this step, once."""
    original = getattr(target, name)

    async def dying(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(target, name, original)
        if after:
            await original(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(target, name, dying)
