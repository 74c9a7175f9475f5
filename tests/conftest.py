"""For all tests: one loop for what drives Chromium, who runs what, and word of what passed only when run again."""

import gc
import os
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest
from pytest_asyncio import is_async_test

from tests.helpers.chromium import browser, driver, playwright

__all__ = ["browser", "driver", "playwright"]

# An example that a busy machine holds up is no failure. Load that the code must bear is measured by benchmarks.
hypothesis.settings.register_profile(
    "any machine", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    words = "how often a browser test that failed is tried again"
    parser.addoption("--browser-reruns", type=int, default=0, metavar="N", help=words)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: the garbage collector needs not walk it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Chromium stays open between tests, so these and their fixtures share the loop it was opened on."""
    reruns = config.getoption("browser_reruns")
    for item in items:
        if item.get_closest_marker("browser"):
            if reruns:
                item.add_marker(pytest.mark.flaky(reruns=reruns))
            if is_async_test(item):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    items[:] = in_shares(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def in_shares(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Ordered for `--dist worksteal`, which gives each worker an equal share and lets the idle take from a share's end.

    All workers but one begin with browser tests, a file in one piece: they mostly wait while the others mostly work,
    and what is left for the end is short.
    """
    if workers == 1:
        return items
    files: dict[str, list[pytest.Item]] = {}
    others: list[pytest.Item] = []
    for item in items:
        of_file = files.setdefault(item.path.name, []) if item.get_closest_marker("browser") else others
        of_file.append(item)
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for tests in sorted(files.values(), key=len, reverse=True):
        min(shares[1:], key=len).extend(tests)
    left = len(items)
    for number, share in enumerate(shares):
        more = max(0, left // (workers - number) - len(share))
        share += others[:more]
        del others[:more]
        left -= len(share)
    return [item for share in shares for item in share]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("browser"):
            patch.setattr(fixturedef.func, "_loop_scope", "session", raising=False)
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With its first failure: it is a defect to be looked at."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"failed at first: {report.nodeid}", sep="!")
        terminalreporter.line(report.longreprtext)
