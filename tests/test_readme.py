"""The README says what is so: its settings table is the settings' own, its pictures and files are there."""

import re
from pathlib import Path

from control.config_sample import table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_settings_table_is_the_one_the_settings_print() -> None:
    printed = README.split("<!-- holdspace check --table -->\n")[1].split("\n<!-- end of the table -->")[0]
    assert printed.strip() == table().strip()


def test_every_file_the_readme_points_to_is_there() -> None:
    named = re.findall(r"`((?:media|signaling|control|recorder|web|tests|benchmarks)/[\w./]*)`", README)
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert named
    assert shown
    assert [path for path in (*named, *shown) if not (ROOT / path).exists()] == []
