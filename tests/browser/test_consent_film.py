"""The practice's own film about consent: it plays, with captions and a transcript; half a film refuses to start."""

import subprocess
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from pydantic import ValidationError

from control.config import ConsentSettings
from tests.browser.journey import book_soonest, until
from tests.browser.people import running_server
from tests.helpers.axe import violations

pytestmark = pytest.mark.timeout(180)

CAPTIONS = "WEBVTT\n\n00:00.000 --> 00:01.000\nWelcome.\n\n00:01.000 --> 00:02.000\nYou may stop at any time.\n"


@pytest.fixture
def film(tmp_path: Path) -> dict[str, Path]:
    files = {"video": tmp_path / "film.webm", "captions": tmp_path / "film.vtt", "transcript": tmp_path / "film.txt"}
    made = ("testsrc2=size=320x180:rate=15:duration=2", "sine=frequency=440:duration=2")
    inputs = [part for one in made for part in ("-f", "lavfi", "-i", one)]
    codecs = ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus")
    command = ["ffmpeg", "-v", "error", *inputs, *codecs, str(files["video"])]
    subprocess.run(command, check=True)  # noqa: S603  our own words
    files["captions"].write_text(CAPTIONS)
    files["transcript"].write_text("Welcome.\n\nYou may stop at any time.\n")
    return files


async def test_film_plays_with_captions_and_its_words_can_be_read(
    browser: Browser, tmp_path: Path, film: dict[str, Path]
) -> None:
    named = {f"CONSENT__{name.upper()}": str(path) for name, path in film.items()}
    async with running_server(tmp_path, **named) as server:
        page = await browser.new_page(base_url=server.url)
        appointment = await book_soonest(page, "mina@example.com")
        await page.goto(f"/sessions/{appointment}/consent")
        video = "document.querySelector('.film video')"
        await until(page, f"{video}.readyState >= 1 && {video}.textTracks[0].cues?.length === 2")
        assert await page.evaluate(f"{video}.textTracks[0].mode") == "showing"
        await page.evaluate(f"{video}.currentTime = 1.5")
        await until(page, f"{video}.textTracks[0].activeCues[0]?.text === 'You may stop at any time.'")
        said = page.locator(".film .prose")
        await expect(said).to_be_hidden()
        await page.get_by_text("Read what is said in the film").click()
        await expect(said).to_contain_text("You may stop at any time.")
        assert await violations(page) == []
        part = await page.request.get("/consent/film", headers={"Range": "bytes=0-99"})
        assert (part.status, len(await part.body())) == (206, 100)
        await page.context.clear_cookies()
        assert (await page.request.get("/consent/film", max_redirects=0)).status in (303, 401)


def test_film_without_captions_or_transcript_refuses_to_start(film: dict[str, Path]) -> None:
    ConsentSettings.model_validate(film)
    wrong: list[dict[str, Path]] = [
        {"video": film["video"]},
        {"video": film["video"], "captions": film["captions"]},
        {**film, "captions": film["transcript"]},
        {**film, "video": film["video"].with_name("nothing.webm")},
    ]
    for values in wrong:
        with pytest.raises(ValidationError):
            ConsentSettings.model_validate(values)
