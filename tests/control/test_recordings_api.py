"""The recording API: the button, the list, files in ranges, and every stranger refused."""

from dataclasses import dataclass

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from control.api.recordings import SEND_BYTES, parse_range
from control.consents import Purpose
from control.keys import RECORDINGS
from control.models.recordings import Recording, RecordingFile
from tests.helpers.practice import Hand, Site

CONTENT = bytes(range(256)) * 4096
FILE = "1-camera"


@dataclass
class InMemory:
    size: int = len(CONTENT)

    def read(self, offset: int, length: int) -> bytes:
        assert length <= SEND_BYTES
        return CONTENT[offset : offset + length]


@dataclass
class Shown:
    site: Site
    alice: Hand
    recording_id: str

    @property
    def path(self) -> str:
        return f"/api/recordings/{self.recording_id}"

    @property
    def file(self) -> str:
        return f"{self.path}/files/{FILE}"

    async def read(self, asked: str | None = None) -> tuple[int, bytes, dict[str, str]]:
        browser = self.site.opened[0]
        headers = dict(browser.headers) | ({} if asked is None else {"Range": asked})
        async with browser.client.get(self.file, headers=headers) as answer:
            return answer.status, await answer.read(), dict(answer.headers)


@pytest_asyncio.fixture
async def shown(site: Site, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """A finished recording of Alice's session with Bob, its file held in memory."""
    world = site.world
    view = await world.started()
    now = world.clock()
    async with world.db.transaction() as session:
        row = Recording(
            appointment_id=view.id,
            practitioner_id=world.alice.person_id,
            state="ready",
            pressed="off",
            started_at=now,
            duration_ms=5000,
        )
        session.add(row)
        await session.flush()
        session.add(
            RecordingFile(
                recording_id=row.id,
                file_id=FILE,
                participant_id=world.bob.person_id,
                name=world.bob.name,
                view="camera",
                mime="video/webm",
                size_bytes=len(CONTENT),
                sha256="0" * 64,
                starts_ms=0,
                duration_ms=5000,
            )
        )
        recording_id = row.id

    async def open_file(*_: str) -> InMemory:
        return InMemory()

    monkeypatch.setattr(site.app[RECORDINGS]._recorder, "open_file", open_file)
    return Shown(site, await site.hand_of(world.alice), recording_id)


async def test_the_practitioner_lists_and_looks(shown: Shown) -> None:
    status, listed = await shown.alice.get("/api/recordings")
    assert status == 200
    assert [one["id"] for one in listed["recordings"]] == [shown.recording_id]
    status, one = await shown.alice.get(shown.path)
    assert status == 200
    assert one["client_name"] == "Bob Client"
    assert one["files"][0]["url"] == shown.file


async def test_a_file_comes_whole_or_in_ranges(shown: Shown) -> None:
    status, body, headers = await shown.read()
    assert (status, body, headers["Accept-Ranges"]) == (200, CONTENT, "bytes")
    assert headers["Content-Type"] == "video/webm"
    assert headers["Cache-Control"] == "private, no-store"
    status, body, headers = await shown.read("bytes=1000-299999")
    assert (status, body) == (206, CONTENT[1000:300_000])
    assert headers["Content-Range"] == f"bytes 1000-299999/{len(CONTENT)}"
    status, body, _ = await shown.read("bytes=-10")
    assert (status, body) == (206, CONTENT[-10:])
    status, body, headers = await shown.read(f"bytes={len(CONTENT)}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(CONTENT)}")


@pytest.mark.parametrize("who", ["bob", "charlie", "erin", "dana", None])
async def test_nobody_else_gets_anything(shown: Shown, who: str | None) -> None:
    stranger = await shown.site.hand_of(getattr(shown.site.world, who) if who else None)
    for path in (shown.path, shown.file):
        status, _ = await stranger.get(path)
        assert status in (401, 403, 404)
    status, _ = await stranger.delete(shown.path)
    assert status in (401, 403, 404)
    for path in (f"{shown.path}/composition", f"{shown.path}/share"):
        for status, _ in (await stranger.post(path, {}), await stranger.delete(path)):
            assert status in (401, 403, 404), path
    if who != "dana":  # an admin may hold what they can't see
        for status, _ in (
            await stranger.post(f"{shown.path}/hold", {"reason": "no"}),
            await stranger.delete(f"{shown.path}/hold"),
        ):
            assert status in (401, 403, 404)
    for query in ("", "?shared=true"):
        status, listed = await stranger.get(f"/api/recordings{query}")
        assert status in (401, 403) or listed["recordings"] == []
    status, read = await stranger.get("/api/recordings/looks")
    assert status == 401 or who == "bob" or read["looks"] == []
    assert (await shown.alice.get(shown.path))[0] == 200


async def test_sharing_opens_it_to_the_client_and_says_so_in_the_log(shown: Shown) -> None:
    bob = await shown.site.hand_of(shown.site.world.bob)
    assert (await bob.get(shown.path))[0] == 404
    assert (await shown.alice.post(f"{shown.path}/share", {}))[0] == 204
    status, one = await bob.get(shown.path)
    assert (status, one["practitioner_name"]) == (200, "Alice Owner")
    assert [one["id"] for one in (await bob.get("/api/recordings?shared=true"))[1]["recordings"]] == [
        shown.recording_id
    ]
    browser = shown.site.opened[-1]
    async with browser.client.get(shown.file, headers=browser.headers) as answer:
        assert (answer.status, await answer.read()) == (200, CONTENT)
    for refused in (await bob.post(f"{shown.path}/composition", {}), await bob.delete(f"{shown.path}/share")):
        assert refused[0] == 403
    status, read = await bob.get("/api/recordings/looks")
    assert sorted((look["what"], look["is_you"]) for look in read["looks"]) == [
        ("Shared it with the client", False),
        ("Watched it", True),
    ]
    assert (await shown.alice.delete(f"{shown.path}/share"))[0] == 204
    assert (await bob.get(shown.file))[0] == 404


async def test_a_download_is_a_file_with_a_name(shown: Shown) -> None:
    browser = shown.site.opened[0]
    async with browser.client.get(f"{shown.file}?download=true", headers=browser.headers) as answer:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="session-2026-03-02-1400-1-camera.webm"'
        assert await answer.read() == CONTENT
    for query in ("?download=perhaps", "?upload=true", "?download=true&download=false"):
        assert (await shown.alice.get(f"{shown.file}{query}"))[0] == 400


async def test_a_hold_needs_a_reason_and_keeps_it(shown: Shown) -> None:
    for body in ({}, {"reason": " "}, {"reason": "x" * 401}, {"reason": "ok", "until": "ever"}):
        assert (await shown.alice.post(f"{shown.path}/hold", body))[0] == 422
    assert (await shown.alice.post(f"{shown.path}/hold", {"reason": "a court has asked"}))[0] == 204
    assert (await shown.alice.delete(shown.path))[0] == 409
    assert (await shown.alice.delete(f"{shown.path}/hold"))[0] == 204
    assert (await shown.alice.delete(shown.path))[0] == 204


async def test_what_was_recorded_of_somebody_goes_only_on_their_own_wish(shown: Shown) -> None:
    world = shown.site.world
    async with world.db.reading() as session:
        row = await session.get_one(Recording, shown.recording_id)
    path = f"/api/appointments/{row.appointment_id}/recordings/mine"
    for who, expected in ((world.charlie, 404), (world.erin, 404), (world.alice, 403), (world.dana, 403), (None, 401)):
        assert (await (await shown.site.hand_of(who)).delete(path))[0] == expected
    await world.consent(world.bob, row.appointment_id, Purpose.RECORDING)
    bob = await shown.site.hand_of(world.bob)
    assert (await bob.delete(path))[1]["code"] == "still_agreed"


async def test_deleting_is_for_good(shown: Shown) -> None:
    assert (await shown.alice.delete(shown.path))[0] == 204
    assert (await shown.alice.get(shown.path))[0] == 404
    assert (await shown.alice.get(shown.file))[0] == 404


async def test_the_button_is_the_practitioners(site: Site) -> None:
    view = await site.world.started()
    path = f"/api/appointments/{view.id}/recording"
    alice = await site.hand_of(site.world.alice)
    status, state = await alice.post(path, {"action": "start"})
    assert (status, state["state"]) == (200, "paused")
    assert (await alice.post(path, {"action": "stop"}))[1] == {"state": "off", "reason": None, "cause": None}
    assert (await alice.post(path, {"action": "rewind"}))[0] == 422
    for who, expected in ((site.world.bob, 403), (site.world.charlie, 404), (None, 401)):
        hand = await site.hand_of(who)
        assert (await hand.post(path, {"action": "start"}))[0] == expected


@given(st.text(max_size=30), st.integers(0, 1 << 40))
def test_any_range_header_is_whole_inside_or_unmeetable(header: str, size: int) -> None:
    _assert_sound(parse_range(header, size), size)


@given(st.integers(0, 10**14), st.integers(0, 10**14), st.integers(0, 1 << 40))
def test_any_numbers_in_a_range_stay_inside_the_file(first: int, last: int, size: int) -> None:
    for header in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        _assert_sound(parse_range(header, size), size)


def _assert_sound(found: tuple[int, int] | None, size: int) -> None:
    if found is not None and found[0] < found[1]:
        assert 0 <= found[0] < found[1] <= size
