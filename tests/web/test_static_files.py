"""Static files: only what lies under web/static, compressed for those who take it, asked for again by ETag."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.errors import NotFound
from tests.helpers.practice import Site
from web.render import STATIC, TEMPLATES, module_url
from web.static_files import file_untrusted


@pytest.mark.parametrize(
    "path",
    [
        "../render.py",
        "css/../../render.py",
        "/etc/passwd",
        "css",
        "nothing.css",
        "css/tokens.css\x00",
        "a" * 5000,
        "..",
        ".",
    ],
)
def test_nothing_outside_the_folder_is_a_file(path: str) -> None:
    with pytest.raises(NotFound):
        file_untrusted(path)


async def test_style_sheet_is_compressed_and_asked_for_again_by_its_etag(site: Site) -> None:
    await site.hand_of(None)
    client = site.opened[-1].client
    async with client.get("/static/css/tokens.css", auto_decompress=False, headers={"Accept-Encoding": "gzip"}) as got:
        body = await got.read()
        assert got.headers["Content-Encoding"] == "gzip"
        assert got.headers["Content-Type"] == "text/css; charset=utf-8"
        assert gzip.decompress(body) == (STATIC / "css/tokens.css").read_bytes()
        etag = got.headers["ETag"]
    asked = {"If-None-Match": etag, "Accept-Encoding": "gzip"}
    async with client.get("/static/css/tokens.css", headers=asked) as again:
        assert again.status == 304
    async with client.get("/static/css/tokens.css", headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers
        assert plain.headers["ETag"] != etag
        assert plain.headers["Cache-Control"] == "no-cache"
        assert plain.headers["X-Content-Type-Options"] == "nosniff"


async def test_blur_s_worker_alone_may_compile_web_assembly(site: Site) -> None:
    await site.hand_of(None)
    client = site.opened[-1].client
    for path, may in (("js/room/blur-worker.js", True), ("js/room/blur.js", False), ("js/room/call.js", False)):
        async with client.get(f"/static/{path}") as got:
            assert got.status == 200
            assert ("'wasm-unsafe-eval'" in got.headers["Content-Security-Policy"]) is may


async def test_modules_are_kept_until_any_of_them_changes(site: Site) -> None:
    await site.hand_of(None)
    client = site.opened[-1].client
    for address, kept in ((module_url("base"), True), ("/static/v-0123456789/js/base.js", False)):
        async with client.get(address) as got:
            assert await got.text() == (STATIC / "js/base.js").read_text(encoding="utf-8")
            assert ("immutable" in got.headers["Cache-Control"]) is kept
    for address in ("/static/v-0123456789", "/static/v-0/v-1/js/base.js", "/static/v-0//etc/passwd"):
        async with client.get(address) as refused:
            assert refused.status == 404


async def test_path_out_of_the_folder_is_not_found(site: Site) -> None:
    await site.hand_of(None)
    async with site.opened[-1].client.get("/static/..%2f..%2fpyproject.toml") as got:
        assert got.status == 404


async def test_first_page_is_light(site: Site) -> None:
    """UI.md: under 100 kB without pictures, as it goes over the wire."""
    await site.hand_of(None)
    client = site.opened[-1].client
    async with client.get("/") as page:
        total = len(await page.read())
    styles = [STATIC / "css" / name for name in ("tokens.css", "components.css", "pages.css")]
    scripts = [STATIC / "js" / f"{name}.js" for name in ("base", "forms", "countdown", "page", "time", "live", "api")]
    for file in [*styles, *scripts, STATIC / "icons.svg", STATIC / "mark.svg"]:
        total += len(file_untrusted(str(file.relative_to(STATIC))).gzipped or file.read_bytes())
    assert total < 60_000


def _imported(module: Path) -> Iterator[Path]:
    for name in re.findall(r"^(?:import|\}).*?'(\.[^']+)';$", module.read_text(encoding="utf-8"), re.MULTILINE):
        yield (module.parent / name).resolve()


def test_room_asks_for_each_of_its_modules_at_once() -> None:
    found, new = set[Path](), {STATIC / "js/room/start.js"}
    while new:
        new = {imported for module in new for imported in _imported(module)} - found
        found |= new
    template = (TEMPLATES / "parts/room_modules.html").read_text(encoding="utf-8")
    asked = re.findall(r'"([\w/-]+)"', template.split("%}")[0])
    assert {STATIC / f"js/{name}.js" for name in asked} == found
