"""The guard of the event loop must catch what it is there for."""

import asyncio
import time

from tests.helpers.loop_guard import loop_never_held


async def _let_run(held_for: str) -> list[str]:
    loop = asyncio.get_running_loop()
    with loop_never_held() as held:
        loop.call_soon(_sleep if held_for == "sleep" else _work if held_for == "work" else int)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return held


def _sleep() -> None:
    time.sleep(0.001)


def _work() -> None:
    until = time.thread_time() + 2
    while time.thread_time() < until:
        pass


def test_a_sleep_on_the_loop_is_caught() -> None:
    assert asyncio.run(_let_run("sleep")) == ["time.sleep on the loop"]


def test_long_work_on_the_loop_is_caught() -> None:
    (held,) = asyncio.run(_let_run("work"))
    assert "ms of CPU" in held


def test_a_free_loop_is_not_accused() -> None:
    assert asyncio.run(_let_run("nothing")) == []


def test_a_thread_of_its_own_may_wait() -> None:
    async def wait_elsewhere() -> list[str]:
        with loop_never_held() as held:
            await asyncio.to_thread(_sleep)
        return held

    assert asyncio.run(wait_elsewhere()) == []
