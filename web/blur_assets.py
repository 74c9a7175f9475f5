"""`python -m web.blur_assets` brings what background blur needs by npm and pip, checked, into web/static/blur.

MediaPipe's tasks-vision 0.10.35 is the last version without a metrics address; the segmenter's model comes out of an
older wheel, because newer ones have none. Everything is Apache-2.0 and stays out of the repository. Without these
files the pages say that blur is not available; nothing else misses them.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

BLUR: Final = Path(__file__).parent / "static" / "blur"
NPM_PACKAGE: Final = "@mediapipe/tasks-vision@0.10.35"
WHEEL: Final = "mediapipe==0.10.21"

FROM_NPM: Final = {
    "package/vision_bundle.mjs": "55d7ab624fbb70dcc5adc4ae6d7ea9cfcb569139d3dbfbf2b1deafcb966bc0fe",
    "package/wasm/vision_wasm_module_internal.js": "1f1d6215324a1fe62f6742d49a3db911170987ca18ad8c1b75f1a1c82acf2b44",
    "package/wasm/vision_wasm_module_internal.wasm": "617b8e0248dbd27e9d7ece4218004eae4cefb499196d1bb4fa0e3fef21708756",
}
FROM_WHEEL: Final = {
    "mediapipe/modules/selfie_segmentation/selfie_segmentation_landscape.tflite": (
        "a77d03f4659b9f6b6c1f5106947bf40e99d7655094b6527f214ea7d451106edd"
    ),
}


MODEL: Final = BLUR / "selfie_segmentation_landscape.tflite"
"""The segmenter, which the server's own blur (media/blur) uses too."""


class NoAssets(Exception):
    """A package could not be had, or is not the one that was checked; the message says which and why."""


def missing() -> list[str]:
    """Names of files that are not there; empty when the browser can blur."""
    return [name for path in (*FROM_NPM, *FROM_WHEEL) if not (BLUR / (name := Path(path).name)).is_file()]


def install() -> None:
    """Raises NoAssets; then nothing in web/static/blur has changed."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _run("npm", "pack", NPM_PACKAGE, "--silent", "--pack-destination", scratch)
        pip = (
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            scratch,
        )
        _run(*pip, "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64", WHEEL)
        with tarfile.open(_only(folder.glob("*.tgz"))) as npm, zipfile.ZipFile(_only(folder.glob("*.whl"))) as wheel:
            files = {path: _of_tar(npm, path) for path in FROM_NPM} | {path: wheel.read(path) for path in FROM_WHEEL}
    for path, digest in (FROM_NPM | FROM_WHEEL).items():
        if hashlib.sha256(files[path]).hexdigest() != digest:
            raise NoAssets(f"{path} is not the file that was checked (its SHA-256 differs)")
    BLUR.mkdir(exist_ok=True)
    for path, content in files.items():
        (BLUR / Path(path).name).write_bytes(content)


def _of_tar(archive: tarfile.TarFile, path: str) -> bytes:
    member = archive.extractfile(path)
    if member is None:
        raise NoAssets(f"{path} is no file")
    return member.read()


def _only(found: Iterable[Path]) -> Path:
    (one,) = found
    return one


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)  # noqa: S603
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise NoAssets(f"{command[0]} could not be run: {error}") from error
    if done.returncode:
        raise NoAssets(f"{' '.join(command[:2])} failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}")


def main() -> int:
    if not missing():
        return 0
    print("Fetching the background blur's files by npm and pip (about 50 MB, once)", flush=True)
    try:
        install()
    except NoAssets as error:
        print(f"Background blur will not be available in the browser: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
