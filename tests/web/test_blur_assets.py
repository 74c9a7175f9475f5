"""What background blur needs is taken only if it is what was checked."""

import hashlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from web import blur_assets


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages as npm and pip would bring them, with invented files; blur's folder is empty."""
    with tarfile.open(tmp_path / "vision.tgz", "w:gz") as archive:
        for path in blur_assets.FROM_NPM:
            member = tarfile.TarInfo(path)
            member.size = len(path)
            archive.addfile(member, io.BytesIO(path.encode()))
    with zipfile.ZipFile(tmp_path / "mediapipe.whl", "w") as wheel:
        for path in blur_assets.FROM_WHEEL:
            wheel.writestr(path, path)
    bring = {"npm": tmp_path / "vision.tgz", sys.executable: tmp_path / "mediapipe.whl"}

    def run(*command: str) -> None:
        option = "--pack-destination" if command[0] == "npm" else "--dest"
        package = bring[command[0]]
        (Path(command[command.index(option) + 1]) / package.name).write_bytes(package.read_bytes())

    monkeypatch.setattr(blur_assets, "_run", run)
    monkeypatch.setattr(blur_assets, "BLUR", tmp_path / "blur")
    return tmp_path / "blur"


def _sums(paths: dict[str, str]) -> dict[str, str]:
    return {path: hashlib.sha256(path.encode()).hexdigest() for path in paths}


def test_files_with_the_right_sums_are_laid_down(offered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blur_assets, "FROM_NPM", _sums(blur_assets.FROM_NPM))
    monkeypatch.setattr(blur_assets, "FROM_WHEEL", _sums(blur_assets.FROM_WHEEL))
    assert len(blur_assets.missing()) == 4
    blur_assets.install()
    assert blur_assets.missing() == []
    assert (offered / "vision_bundle.mjs").read_text() == "package/vision_bundle.mjs"


def test_a_file_with_another_sum_changes_nothing(offered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blur_assets, "FROM_NPM", _sums(blur_assets.FROM_NPM))
    with pytest.raises(blur_assets.NoAssets, match="SHA-256 differs"):
        blur_assets.install()
    assert not offered.exists()


def test_without_npm_it_is_said_and_the_start_goes_on(
    offered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(blur_assets, "BLUR", offered)
    monkeypatch.setenv("PATH", str(offered))
    assert blur_assets.main() == 1
    assert "Background blur will not be available" in capsys.readouterr().err
