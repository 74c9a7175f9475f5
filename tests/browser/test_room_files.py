"""Files as two people share them: dropped, seen, fetched byte for byte, cut off and gone on with, withdrawn."""

import hashlib
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser import journey
from tests.browser.rooms import Meeting
from tests.control.test_files import picture
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(240)

DROP = """
async ([name, text]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([text], name, { type: 'application/x-anything' }));
  const room = document.getElementById('room');
  room.dispatchEvent(new DragEvent('dragenter', { dataTransfer: transfer, bubbles: true }));
  if (document.getElementById('drop').hidden) throw new Error('nothing says where to drop');
  room.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
}
"""


async def fetched(page: Page, name: str, folder: Path) -> bytes:
    async with page.expect_download() as waiting:
        await page.locator("#file-list a", has_text=name).click()
    path = folder / "fetched"
    await (await waiting.value).save_as(path)
    return path.read_bytes()


async def test_dropped_file_is_seen_fetched_and_withdrawn(meeting: Meeting, tmp_path: Path) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    await mina.evaluate(DROP, ["letter to my sister.txt", "Dear sister,"])
    await expect(mina.locator("#panel-files")).to_be_visible()
    await expect(mina.locator("#file-list li")).to_contain_text("from you")
    await expect(amara.locator("#files-count")).to_be_visible()
    await expect(amara.locator("#said")).to_have_text("Mina has shared a file")
    await amara.keyboard.press("i")
    await expect(amara.locator("#files-count")).to_be_hidden()
    assert await fetched(amara, "letter to my sister.txt", tmp_path) == b"Dear sister,"

    photo = tmp_path / "holiday.png"
    photo.write_bytes(picture((900, 600)))
    await amara.locator("#file-input").set_input_files(photo)
    await expect(mina.locator("#file-list img")).to_be_visible()
    await journey.until(mina, "document.querySelector('#file-list img').naturalWidth > 0")

    program = tmp_path / "program.pdf"
    program.write_bytes(b"MZ\x90\x00\x03")
    await amara.locator("#file-input").set_input_files(program)
    await expect(amara.locator("#file-error")).to_contain_text("can't be shared")
    for page in (mina, amara):
        assert await violations(page) == []

    await mina.get_by_role("button", name="Withdraw letter to my sister.txt").click()
    await expect(amara.locator("#file-list li")).to_have_count(1)
    await meeting.end()
    await mina.goto("/files")
    await expect(mina.locator(".filelist li")).to_have_count(1)
    await expect(mina.locator(".filelist li")).to_contain_text("holiday.png")


async def test_upload_that_is_cut_off_goes_on_by_itself_and_arrives_whole(meeting: Meeting, tmp_path: Path) -> None:
    mina, amara = meeting.mina.page, meeting.amara.page
    big = tmp_path / "notes.txt"
    big.write_bytes(b"0123456789abcdef" * 400_000)
    sent: list[str] = []
    mina.on("request", lambda request: sent.append(request.url) if "/chunks/" in request.url else None)

    async def cut(route: object) -> None:
        await route.abort()  # type: ignore[attr-defined]

    await mina.route("**/chunks/4", cut)
    await journey.press(mina, "#files")
    await mina.locator("#file-input").set_input_files(big)
    await expect(mina.locator("#file-list [role=status]")).to_have_text("The connection is gone. It goes on by itself.")
    await mina.unroute("**/chunks/4")
    await expect(mina.locator("#file-list li[data-file]")).to_have_count(1, timeout=20_000)
    numbers = [int(url.rsplit("/", 1)[1]) for url in sent]
    assert numbers[:4] == [0, 1, 2, 3]
    assert sorted(set(numbers)) == list(range(13))
    assert numbers.count(0) == 1
    await journey.press(amara, "#files")
    assert (
        hashlib.sha256(await fetched(amara, "notes.txt", tmp_path)).digest()
        == hashlib.sha256(big.read_bytes()).digest()
    )
