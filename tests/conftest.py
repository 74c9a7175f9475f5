"""Tells of every test that passed only when run again, with its first failure: it is a defect to be looked at."""

import hypothesis
import pytest

# An example that a busy machine holds up is no failure. Load that the code must bear is measured by benchmarks.
hypothesis.settings.register_profile(
    "any machine", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"failed at first: {report.nodeid}", sep="!")
        terminalreporter.line(report.longreprtext)
