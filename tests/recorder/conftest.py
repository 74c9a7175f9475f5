"""One recording's folder for each test, and the loop guard of the whole suite where there is one."""

from pathlib import Path

import pytest

from recorder.storage import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path / "recordings", "r")
    shelf.create()
    return shelf
