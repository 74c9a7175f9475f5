"""benchmarks/sessions.py and memory.py: which step is the answer, and what one participant costs."""

from dataclasses import replace

import pytest

from benchmarks.load import Window
from benchmarks.memory import Result as MemoryResult
from benchmarks.memory import Step as MemoryStep
from benchmarks.sessions import Result, Step


def window(rooms: int, *, lost: int = 0, p99_us: float = 900.0, idle: float = 0.5) -> Window:
    return Window(
        rooms=rooms,
        seconds=10.0,
        expected=1000,
        received=1000 - lost,
        delay_us_p50=100.0,
        delay_us_p99=p99_us,
        generator_idle=idle,
        checked=10,
        mismatched=0,
        cpu_s=rooms * 0.025 + 0.1,
        packets_out=1000,
        sends=400,
        rss_bytes=50_000_000 + rooms * 600_000,
    )


def result(*steps: Step) -> Result:
    return Result(steps, 50_000_000, "gso")


def step(rooms: int, *, machine_lost: int = 0, lost: int = 0, p99_us: float = 900.0, idle: float = 0.5) -> Step:
    return Step(window(rooms, lost=lost, p99_us=p99_us, idle=idle), window(rooms, lost=machine_lost))


def test_the_last_step_before_the_first_that_broke_is_the_answer() -> None:
    found = result(step(50), step(100), step(200), step(400, lost=1))
    assert found.best is not None
    assert found.half is not None
    assert (found.best.server.rooms, found.half.server.rooms, found.is_at_least) == (200, 100, False)
    assert found.as_json()["rooms"] == 200
    assert found.as_json()["rss_bytes_per_participant"] == 300_000
    assert found.best.sessions_per_core == pytest.approx(200 / 0.51)


def test_a_step_breaks_by_delay_as_well_as_by_loss() -> None:
    assert not step(10, p99_us=5_000.0).held
    assert not step(10, lost=1).held
    assert step(10).held


def test_where_the_machine_or_the_generator_gave_out_first_it_is_at_least() -> None:
    assert result(step(50), step(100)).is_at_least
    assert result(step(50), step(100, machine_lost=1)).is_at_least
    assert result(step(50, idle=0.1), step(100, lost=1)).is_at_least
    assert not result(step(50), step(100, lost=1)).is_at_least


def test_where_nobody_more_could_enter_it_is_the_server_that_gave_out() -> None:
    found = replace(result(step(50), step(100)), unconnected=150)
    assert not found.is_at_least
    assert (found.as_json()["rooms"], found.as_json()["unconnected_at"]) == (100, 150)
    assert ("rooms at which nobody more could enter", "150") in found.rows()


def test_nothing_that_held_is_no_room() -> None:
    found = result(step(50, lost=1))
    assert (found.best, found.half, found.as_json()["rooms"]) == (None, None, 0)
    assert found.rows()[0][0] == "rooms"


def test_growth_of_cpu_is_told_by_room() -> None:
    cores = result(step(50), step(100), step(150)).cores_by_rooms
    assert cores is not None
    assert cores == pytest.approx((0.01, 0.0025))


def test_no_cpu_spent_divides_by_nothing() -> None:
    idle = replace(window(10), cpu_s=0.0)
    assert Step(idle, idle).sessions_per_core == 0.0


def test_memory_is_the_slope_over_participants() -> None:
    steps = tuple(MemoryStep(count, 50_000_000 + count * 100_000, 50_000_000 + count * 300_000) for count in (40, 80))
    found = MemoryResult(50_000_000, steps)
    assert found.bytes_per_participant == pytest.approx(300_000)
    assert found.connected_per_participant == pytest.approx(100_000)
