"""benchmarks/blur.py: which number of cameras is the answer, and what the JSON says."""

import pytest

from benchmarks.blur import FPS, GOAL_STREAMS, Result, Step


def step(streams: int, *, fps: float = FPS, p95_ms: float = 30.0) -> Step:
    return Step(streams, fps=fps, p50_ms=12.0, p95_ms=p95_ms, cores=0.28 * streams)


@pytest.mark.parametrize(
    ("last", "answer"),
    [(step(4), 4), (step(4, fps=0.9 * FPS), 3), (step(4, p95_ms=80.0), 3)],
)
def test_the_answer_is_the_most_cameras_that_kept_pace_and_delay(last: Step, answer: int) -> None:
    assert Result((step(1), step(2), step(3), last)).streams_per_core == answer


def test_the_json_gives_the_delay_of_three_cameras() -> None:
    found = Result((step(1), step(2), step(GOAL_STREAMS, fps=23.9, p95_ms=41.26), step(4, fps=10))).as_json()
    assert (found["streams_per_core"], found["fps"]) == (3, 23.9)
    assert found["added_delay_ms"] == {"p50": 12.0, "p95": 41.3}
