"""Compiled templates are kept for the next start where that can be; elsewhere the server starts all the same."""

import logging
import tempfile
from pathlib import Path

import aiohttp_jinja2
import pytest
from aiohttp import web

from web.render import setup_templates


def compiled(name: str = "parts/marks.html") -> bool:
    app = web.Application()
    setup_templates(app)
    return bool(aiohttp_jinja2.get_env(app).get_template(name))


def test_compiled_templates_are_kept_for_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert compiled()
    assert len(list(tmp_path.rglob("*.cache"))) > 0


def test_server_without_a_temporary_folder_compiles_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with caplog.at_level(logging.WARNING):
        assert compiled()
    assert "compiled templates are not kept" in caplog.text


def test_disk_that_takes_nothing_more_costs_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    assert compiled()
    assert list(tmp_path.rglob("*.cache")) == []
