"""Tells of every test that passed only when run again, with its first failure: it is a defect to be looked at."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"failed at first: {report.nodeid}", sep="!")
        terminalreporter.line(report.longreprtext)
