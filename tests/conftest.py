"""For all tests: one loop for what drives Chromium, and word of every test that passed only when run again."""

import gc
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
