"""A copy of everything: made in the background, whole, one's own alone, sealed on disk; notes only where given out."""

import io
import json
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from control import exports, messages, note_requests
from control.chat import Chat
from control.client_files import ClientFiles
from control.config import Settings
from control.consents import Purpose
from control.export_parts import ABOUT, Entry, Sources
from control.exports import Exports
from control.files import CHUNK_BYTES, Files, Wanted
from control.keys import CHAT, CLIENT_FILES, EXPORTS, FILES, MESSAGES, PROBLEMS
from control.language import ENGLISH
from control.models import testimonials
from control.models.notices import NoticeRow
from control.models.people import Person
from control.models.problems import ProblemKind
from control.notices.kinds import NoticeKind
from control.problems import Problems
from tests.control.test_messages import RULES
from tests.helpers.practice import Hand, Site, World


class KilledHere(BaseException):
    """The process ends here."""


PDF = b"%PDF-1.4\n" + b"0123456789" * 70_000 + b"\n%%EOF\n"  # more than one chunk


async def filled(site: Site) -> None:
    """Bob has done everything a client can do; Charlie has written, too."""
    world, app = site.world, site.app
    view = await world.started()
    now = world.clock()
    await world.consent(world.bob, view.id, Purpose.CARE)
    rules = app[MESSAGES]
    for who, text in ((world.bob, "From Bob"), (world.charlie, "From Charlie")):
        seen = rules.notice.version
        await messages.write_to(world.db, rules, who, world.alice.person_id, text, seen_notice=seen, now=now)
    for n in range(130):
        await app[CHAT].say(world.bob, view.id, f"line {n}", key=str(n), now=now)
    begun = await app[FILES].begin(world.alice, view.id, Wanted("plan.pdf", len(PDF), None), key="f", now=now)
    for index in range(begun.chunks):
        chunk = PDF[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        await app[FILES].add_chunk(world.alice, begun.id, index, chunk, now=now)
    await app[PROBLEMS].report(world.bob, view.id, ProblemKind.TECHNICAL, "No sound", None, now=now)
    await app[CLIENT_FILES].add_note(world.alice, world.bob.person_id, "A private note", now=now)
    about = {"practitioner_id": world.alice.person_id, "state": "waiting", "created_at": now}
    async with world.db.transaction() as session:
        session.add(testimonials.Testimonial(author_id=world.bob.person_id, text="She listened.", **about))
        session.add(testimonials.Testimonial(author_id=world.charlie.person_id, text="From Charlie", **about))


async def made(site: Site, hand: Hand) -> dict[str, bytes]:
    """Asked for, made, fetched and opened."""
    world = site.world
    world.clock.forward(minutes=1)
    status, asked = await hand.post("/api/account/export")
    assert (status, asked["state"]) == (202, "waiting")
    await site.app[EXPORTS].run_once(world.clock())
    status, found = await hand.get("/api/account/export")
    assert (status, found["state"], found["parts_done"]) == (200, "ready", found["parts"])
    async with hand.browser.client.get(
        f"/api/account/export/{found['id']}/content", headers=hand.browser.headers
    ) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Disposition"].endswith('.zip"')
        raw = await answer.read()
    assert len(raw) == found["size"]
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_copy_holds_everything_of_its_person_and_nothing_of_others(site: Site) -> None:
    await filled(site)
    bob = await site.hand_of(site.world.bob)
    async with site.world.db.transaction() as session:
        (await session.get_one(Person, site.world.bob.person_id)).language = "de"  # this practice offers English
    found = await made(site, bob)
    assert found["read-me.txt"].decode() == ABOUT
    [name] = [one for one in found if one.startswith("files/")]
    assert (name.endswith("-plan.pdf"), found[name]) == (True, PDF)
    read: dict[str, Any] = {one: json.loads(found[one]) for one in found if one.endswith(".json")}
    assert read["account.json"]["account"]["email"] == "bob.client@example.org"
    assert len(read["sessions.json"]["as_client"]) == 1
    assert read["consents.json"]["answers"][0]["answer"] == "yes"
    assert [one["messages"][0]["text"] for one in read["messages.json"]] == ["From Bob"]
    [lines] = read["chat.json"].values()
    assert [one["text"] for one in lines] == [f"line {n}" for n in range(130)]
    assert read["payments.json"]["payments"][0]["amount_minor"] > 0
    assert read["problems.json"][0]["text"] == "No sound"
    assert read["notes.json"][0]["notes"] == []
    assert [one["text"] for one in read["testimonials.json"]] == ["She listened."]
    assert b"From Charlie" not in b"".join(found.values())
    assert b"A private note" not in b"".join(found.values())


async def test_notes_are_in_it_only_once_their_practitioner_gives_them_out(site: Site) -> None:
    await filled(site)
    world = site.world
    bob, alice = await site.hand_of(world.bob), await site.hand_of(world.alice)
    await made(site, bob)
    path = f"/api/clients/{world.bob.person_id}/notes-request"
    for who, wanted in ((world.erin, 404), (world.bob, 403), (world.charlie, 403), (None, 401)):
        assert (await (await site.hand_of(who)).post(path, {"give": True}))[0] == wanted
    [asked] = await note_requests.asked_by(world.db, world.bob)
    assert (asked.practitioner_name, asked.answer) == ("Alice Owner", None)
    for give, answer, notes in ((False, "The practitioner does not give them out.", 0), (True, "Given out.", 1)):
        assert (await alice.post(path, {"give": give}))[0] == 204
        [found] = json.loads((await made(site, bob))["notes.json"])
        assert (found["answer"], len(found["notes"])) == (answer, notes)
    async with world.db.reading() as session:
        rows = await session.execute(select(NoticeRow.kind, NoticeRow.person_id))
        told = [tuple(row) for row in rows]
    assert told.count((NoticeKind.NOTES_ASKED, world.alice.person_id)) == 1, "asked once, however many copies"
    assert told.count((NoticeKind.NOTES_ANSWERED, world.bob.person_id)) == 2
    assert (NoticeKind.EXPORT_READY, world.bob.person_id) in told


async def test_stranger_gets_no_copy_and_disk_tells_nothing(site: Site, settings: Settings) -> None:
    await filled(site)
    world = site.world
    bob = await site.hand_of(world.bob)
    await made(site, bob)
    path = f"/api/account/export/{(await bob.get('/api/account/export'))[1]['id']}/content"
    for who, wanted in ((world.alice, 404), (world.charlie, 404), (world.dana, 404), (None, 401)):
        hand = await site.hand_of(who)
        assert (await hand.get(path))[0] == wanted
        assert (await hand.get("/api/account/export"))[0] == wanted
    kept = b"".join(each.read_bytes() for each in (settings.server.data_dir / "exports").rglob("*") if each.is_file())
    assert kept
    assert b"PK" not in kept[:4]
    assert b"messages.json" not in kept
    world.clock.forward(days=7)
    await site.app[EXPORTS].run_once(world.clock())
    assert (await bob.get(path))[0] == 404
    assert list((settings.server.data_dir / "exports").iterdir()) == []


def alone(world: World, folder: Path) -> Exports:
    """Without the application, whose scheduler would go on with what is left."""
    db, key = world.db, bytes(32)
    files = Files(db, folder / "files", key, most_bytes=25_000_000, chunk_bytes=CHUNK_BYTES)
    sources = Sources(db, RULES, Chat(db, key), files, Problems(db, key), ClientFiles(db, key))
    return Exports(db, folder / "exports", key, sources, lambda person_id, message: None, languages=(ENGLISH,))


async def test_copy_cut_off_by_a_crash_is_begun_anew(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by = alone(world, tmp_path)
    await made_by.ask(world.bob, now=world.clock())

    async def crash(*_: object) -> AsyncIterator[Entry]:
        yield Entry("begun.txt")
        raise KilledHere

    with monkeypatch.context() as broken:
        broken.setattr(exports, "PARTS", (*exports.PARTS[:3], crash))
        with pytest.raises(KilledHere):
            await made_by.run_once(world.clock())
    before = await made_by.newest(world.bob)
    assert before is not None
    assert (before.state, before.parts_done) == ("making", 3)
    assert await made_by.run_once(world.clock()) == 1
    after = await made_by.newest(world.bob)
    assert after is not None
    assert (after.state, after.file_id != before.file_id) == ("ready", True)
    assert [one.name for one in (tmp_path / "exports").iterdir()] == [after.file_id]


async def test_copy_that_fails_says_so_and_can_be_asked_for_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by = alone(world, tmp_path)
    first = await made_by.ask(world.bob, now=world.clock())
    assert (await made_by.ask(world.bob, now=world.clock())).id == first.id, "one at a time"

    async def fail(*_: object) -> AsyncIterator[Entry]:
        yield Entry("begun.txt")
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(exports, "PARTS", (fail,))
        await made_by.run_once(world.clock())
    found = await made_by.newest(world.bob)
    assert found is not None
    assert found.state == "failed"
    world.clock.forward(minutes=1)
    again = await made_by.ask(world.bob, now=world.clock())
    assert (again.id != first.id, again.state) == (True, "waiting")


async def test_copy_of_somebody_who_is_erased_meanwhile_is_not_left_behind(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by = alone(world, tmp_path)
    await made_by.ask(world.bob, now=world.clock())

    async def erased(*_: object) -> AsyncIterator[Entry]:
        yield Entry("large.bin", os.urandom(2 * CHUNK_BYTES))
        await made_by.forget(world.bob.person_id)

    monkeypatch.setattr(exports, "PARTS", (erased, *exports.PARTS))
    await made_by.run_once(world.clock())
    found = await made_by.newest(world.bob)
    assert found is not None
    assert found.state == "gone"
    assert list((tmp_path / "exports").iterdir()) == []
