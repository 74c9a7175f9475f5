"""Imports go one way (DESIGN.md §1): web → control → signaling → media, recorder → media; composers see all."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("media", "signaling", "control", "recorder", "web")
MAY_IMPORT = {
    "media": set(),
    "signaling": {"media"},
    "recorder": {"media"},
    "control": {"signaling", "media"},
    "web": {"control"},
}
COMPOSERS = {"control/app.py", "control/__main__.py"}


def imported_packages(path: Path) -> set[str]:
    """Our own packages that a file imports; `from aiohttp import web` is aiohttp's, a bare `import web` is refused."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(name.name == "web" for name in node.names), f"{path}: write `from web.x import y`"
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found & set(PACKAGES)


def python_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    files = python_files(package)
    assert files, f"{package} has no Python files"
    wrong = {
        str(path.relative_to(ROOT)): sorted(imported_packages(path) - MAY_IMPORT[package] - {package})
        for path in files
        if str(path.relative_to(ROOT)) not in COMPOSERS
    }
    assert {path: names for path, names in wrong.items() if names} == {}


def test_only_the_dtls_seam_touches_private_names_of_aiortc() -> None:
    offenders = []
    for package in PACKAGES:
        for path in python_files(package):
            if path.relative_to(ROOT) == Path("media/dtls.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiortc"):
                    private = [name.name for name in node.names if name.name.startswith("_")]
                    offenders += [f"{path.relative_to(ROOT)}: {name}" for name in private]
    assert offenders == []


def test_nothing_unagreed_stands_at_the_top_of_the_repository() -> None:
    agreed = {
        *PACKAGES,
        *("tests", "benchmarks", "pyproject.toml", "README.md", "Makefile", "LICENSE"),
    }
    built = {"var", "node_modules", "dist"}
    there = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert there - built - agreed == set()
