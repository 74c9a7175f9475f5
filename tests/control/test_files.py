"""Files of a session: sent in chunks that survive a cut, known by content, seen by who may, sealed, withdrawn."""

import io
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from control import accounts, appointments, guests
from control.errors import Conflict, Forbidden, Invalid, NotFound, Problem
from control.file_access import MOST_OPEN
from control.file_types import kind_untrusted
from control.files import FORGOTTEN, Files, FileView, Wanted
from control.models.files import SharedFile
from control.models.notices import NoticeRow
from control.room_news import RoomNews
from tests.helpers.practice import Site, World

KEY = b"k" * 32
CHUNK = 1_000
PDF = b"%PDF-1.7 " + bytes(range(256)) * 10


def picture(size: tuple[int, int] = (640, 480), form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(out, form)
    return out.getvalue()


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in members.items():
            made.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return out.getvalue()


@pytest.fixture
def files(world: World, tmp_path: Path) -> Files:
    return Files(world.db, tmp_path / "files", KEY, most_bytes=25_000_000, chunk_bytes=CHUNK)


async def send(
    files: Files,
    world: World,
    appointment_id: str,
    data: bytes = PDF,
    name: str = "letter.pdf",
    *,
    to: str | None = None,
    key: str = "1",
) -> FileView:
    view = await files.begin(world.bob, appointment_id, Wanted(name, len(data), to), key=key, now=world.clock())
    for index in range(view.received, view.chunks):
        part = data[index * CHUNK : (index + 1) * CHUNK]
        view = await files.add_chunk(world.bob, view.id, index, part, now=world.clock())
    return view


async def content(files: Files, view: FileView) -> bytes:
    return b"".join([await files.read_chunk(view, index) for index in range(view.chunks)])


async def test_what_was_sent_is_what_is_fetched_and_both_are_told(world: World, files: Files) -> None:
    session = await world.started()
    heard: list[RoomNews] = []
    world.db.subscribe(lambda events: heard.extend(one for one in events if isinstance(one, RoomNews)))
    sent = await send(files, world, session.id)
    assert (sent.is_ready, sent.mime, sent.name) == (True, "application/pdf", "letter.pdf")
    (seen,) = await files.of_session(world.alice, session.id)
    assert await content(files, seen) == PDF
    assert [(one.topic, set(one.to)) for one in heard] == [("file", {world.alice.person_id, world.bob.person_id})]
    async with world.db.reading() as reading:
        told = await reading.scalars(select(NoticeRow.person_id).where(NoticeRow.kind == "file_shared"))
        assert told.all() == [world.alice.person_id]


async def test_cut_off_upload_goes_on_where_it_was(world: World, files: Files) -> None:
    session = await world.started()
    wanted = Wanted("letter.pdf", len(PDF), None)
    begun = await files.begin(world.bob, session.id, wanted, key="1", now=world.clock())
    await files.add_chunk(world.bob, begun.id, 0, PDF[:CHUNK], now=world.clock())
    again = await files.begin(world.bob, session.id, wanted, key="1", now=world.clock())
    assert (again.id, again.received) == (begun.id, 1)
    with pytest.raises(Conflict, match="chunk_out_of_order"):
        await files.add_chunk(world.bob, begun.id, 2, PDF[2 * CHUNK :], now=world.clock())
    repeated = await files.add_chunk(world.bob, begun.id, 0, PDF[:CHUNK], now=world.clock())
    assert repeated.received == 1
    assert await files.of_session(world.bob, session.id) == ()
    assert await content(files, await send(files, world, session.id)) == PDF
    with pytest.raises(Invalid, match="idempotency_key_reused"):
        await files.begin(world.bob, session.id, Wanted("other.pdf", 5, None), key="1", now=world.clock())


async def test_nothing_readable_is_on_disk_and_another_key_opens_nothing(
    world: World, files: Files, tmp_path: Path
) -> None:
    session = await world.started()
    text = b"a private thing, " * 100
    sent = await send(files, world, session.id, text, "private-letter.txt")
    stored = b"".join(path.read_bytes() for path in (tmp_path / "files").rglob("*") if path.is_file())
    assert len(stored) > len(text)
    assert b"private" not in stored
    async with world.db.reading() as reading:
        assert b"private" not in (await reading.scalars(select(SharedFile))).one().sealed_name
    other = Files(world.db, tmp_path / "files", b"x" * 32, most_bytes=1, chunk_bytes=CHUNK)
    with pytest.raises(Problem, match="unreadable"):
        await other.read_chunk(sent, 0)


async def test_chunk_of_another_place_or_file_does_not_open(world: World, files: Files, tmp_path: Path) -> None:
    session = await world.started()
    sent = await send(files, world, session.id)
    path = tmp_path / "files" / sent.id / "chunks"
    stored = path.read_bytes()
    step = CHUNK + 28
    path.write_bytes(stored[step : 2 * step] + stored[:step] + stored[2 * step :])
    with pytest.raises(Problem, match="unreadable"):
        await files.read_chunk(sent, 0)


@pytest.mark.parametrize(
    ("data", "name", "mime"),
    [
        (picture(), "holiday.png", "image/png"),
        (picture(form="JPEG"), "holiday.JPG", "image/jpeg"),
        (b"just words", "notes.txt", "text/plain"),
        (b"{\\rtf1 words}", "letter.rtf", "application/rtf"),
        (
            archive(word__document_DOT_xml=b"<w/>", **{"[Content_Types]_DOT_xml": b"<t/>"}),
            "letter.docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
    ],
)
async def test_documents_and_pictures_are_taken(world: World, files: Files, data: bytes, name: str, mime: str) -> None:
    session = await world.started()
    sent = await send(files, world, session.id, data, name)
    assert sent.mime == mime
    assert sent.has_thumbnail == mime.startswith("image/")
    if sent.has_thumbnail:
        small = Image.open(io.BytesIO(await files.thumbnail(world.alice, sent.id)))
        assert (small.format, small.size) == ("JPEG", (320, 240))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"MZ\x90\x00program", "letter.pdf"),
        (b"<html><script>alert(1)</script>", "page.html"),
        (PDF, "program.exe"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "picture.svg"),
        (archive(x_DOT_exe=b"MZ"), "letter.docx"),
        (picture()[:200], "cut.png"),
        (
            archive(word__vbaProject_DOT_bin=b"x", word__document_DOT_xml=b"", **{"[Content_Types]_DOT_xml": b""}),
            "macro.docx",
        ),
    ],
)
async def test_anything_else_is_refused_and_taken_away(
    world: World, files: Files, tmp_path: Path, data: bytes, name: str
) -> None:
    session = await world.started()
    with pytest.raises(Invalid, match="type_not_taken"):
        await send(files, world, session.id, data, name)
    assert await files.of_session(world.bob, session.id) == ()
    assert not [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04", b"PK\x03\x04" + b"\xff" * 500, b"\x89PNG\r\n\x1a\n" + b"\x00" * 64, b""]
)
def test_broken_contents_are_answered_and_not_raised(data: bytes) -> None:
    kind = kind_untrusted(data)
    assert kind is None or kind.mime == "text/plain"


async def test_file_for_one_person_is_seen_by_them_and_its_owner_alone(world: World, files: Files) -> None:
    session = await world.started()
    guest = await guests.invite(
        world.db, world.alice, session.id, email="g@example.org", name="Gwen", now=world.clock()
    )
    gwen = await accounts.actor_of(world.db, guest.person_id)
    assert gwen is not None
    sent = await send(files, world, session.id, key="before")
    world.clock.now += timedelta(seconds=1)
    await guests.admit(world.db, world.alice, session.id, guest.id, now=world.clock())
    private = await send(files, world, session.id, to=world.alice.person_id, key="private")
    open_to_all = await send(files, world, session.id, key="all")
    assert [one.id for one in await files.of_session(gwen, session.id)] == [open_to_all.id]
    for hidden in (sent, private):
        with pytest.raises(NotFound):
            await files.get(gwen, hidden.id)
    assert len(await files.of_session(world.alice, session.id)) == 3
    assert [one.id for one in await files.of_person(gwen)] == [open_to_all.id]
    with pytest.raises(Invalid, match="not_inside"):
        await send(files, world, session.id, to=world.charlie.person_id, key="charlie")


async def test_withdrawn_file_is_gone_for_everybody_and_from_disk(world: World, files: Files, tmp_path: Path) -> None:
    session = await world.started()
    sent = await send(files, world, session.id)
    with pytest.raises(NotFound):
        await files.withdraw(world.alice, sent.id, now=world.clock())
    for _ in range(2):
        await files.withdraw(world.bob, sent.id, now=world.clock())
    for who in (world.alice, world.bob):
        with pytest.raises(NotFound):
            await files.get(who, sent.id)
    assert not (tmp_path / "files" / sent.id).exists()
    assert (await send(files, world, session.id)).id != sent.id


async def test_files_are_shared_while_the_room_is_open_and_fetched_afterwards(world: World, files: Files) -> None:
    session = await world.confirmed()
    sent = await send(files, world, session.id)
    await appointments.cancel(world.db, world.alice, session.id, now=world.clock())
    with pytest.raises(Conflict, match="not_open"):
        await send(files, world, session.id, key="late")
    assert await content(files, await files.get(world.alice, sent.id)) == PDF


async def test_bounds_of_size_name_chunk_and_number(world: World, files: Files) -> None:
    session = await world.started()
    for wanted, code in (
        (Wanted("a.pdf", 25_000_001, None), "file_too_large"),
        (Wanted("a.pdf", 0, None), "file_too_large"),
        (Wanted("..", 5, None), "name_invalid"),
        (Wanted("a" * 201, 5, None), "name_invalid"),
        (Wanted("a\u202epdf.exe", 5, None), "name_invalid"),
    ):
        with pytest.raises(Invalid, match=code):
            await files.begin(world.bob, session.id, wanted, key="1", now=world.clock())
    named = await files.begin(world.bob, session.id, Wanted("C:\\letters\\a.pdf", 5, None), key="0", now=world.clock())
    assert named.name == "a.pdf"
    with pytest.raises(Invalid, match="chunk_size"):
        await files.add_chunk(world.bob, named.id, 0, b"123456", now=world.clock())
    for number in range(1, MOST_OPEN):
        await files.begin(world.bob, session.id, Wanted("a.pdf", 5, None), key=str(number), now=world.clock())
    with pytest.raises(Conflict, match="too_many_files"):
        await files.begin(world.bob, session.id, Wanted("a.pdf", 5, None), key="last", now=world.clock())


async def test_upload_nobody_went_on_with_is_forgotten(world: World, files: Files, tmp_path: Path) -> None:
    session = await world.started()
    begun = await files.begin(world.bob, session.id, Wanted("a.pdf", len(PDF), None), key="1", now=world.clock())
    await files.add_chunk(world.bob, begun.id, 0, PDF[:CHUNK], now=world.clock())
    assert await files.forget_unfinished(world.clock()) == 0
    world.clock.now += FORGOTTEN
    assert await files.forget_unfinished(world.clock()) == 1
    assert await files.forget_unfinished(world.clock()) == 0
    assert not (tmp_path / "files" / begun.id).exists()


async def test_strangers_begin_read_and_withdraw_nothing(site: Site) -> None:
    world = site.world
    session = await world.started()
    path = f"/api/appointments/{session.id}/files"
    bob = await site.hand_of(world.bob)
    status, begun = await bob.post(path, {"name": "letter.pdf", "size": len(PDF)})
    assert status == 201
    one = f"/api/files/{begun['id']}"
    put = bob.browser.client.put(f"{one}/chunks/0", data=PDF, headers=await headers(bob))
    assert (await put).status == 200
    answer = await bob.browser.client.get(f"{one}/content", headers=bob.browser.headers)
    assert await answer.read() == PDF
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''letter.pdf"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    for who, whole, single in (
        (world.charlie, 404, 404),
        (world.erin, 404, 404),
        (world.dana, 403, 403),
        (None, 401, 401),
    ):
        hand = await site.hand_of(who)
        assert (await hand.get(path))[0] == whole
        assert (await hand.post(path, {"name": "a.pdf", "size": 5}))[0] == whole
        for part in ("content", "thumbnail"):
            assert (await hand.get(f"{one}/{part}"))[0] == single
        assert (await hand.delete(one))[0] in (single, 404)
        sent = hand.browser.client.put(f"{one}/chunks/0", data=b"x", headers=await headers(hand))
        assert (await sent).status in (single, 404)
    assert (await bob.post(path, {"name": "a.pdf", "size": 25_000_001}))[0] == 422
    assert (await bob.post(path, {"name": "a.pdf", "size": 5}, key=None))[1]["code"] == "idempotency_key_required"
    assert (await bob.delete(one))[0] == 204


async def headers(hand: object) -> dict[str, str]:
    """Of a write whose body is no JSON."""
    browser = hand.browser  # type: ignore[attr-defined]
    token = (await browser.get("/api/me")).body["csrf_token"]
    return {**browser.headers, "Origin": browser.origin, "X-CSRF-Token": token}


async def test_admin_is_in_no_session(world: World, files: Files) -> None:
    session = await world.started()
    with pytest.raises(Forbidden, match="not_in_session"):
        await files.of_session(world.dana, session.id)
