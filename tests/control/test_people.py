"""People as admins see them: found, invited, given roles, signed out; what everybody changes about themselves."""

import re
from typing import Any

import pytest
from sqlalchemy import select

from control.accounts import Actor
from control.audit import entries_about
from control.database import Database
from control.models.outbox import OutboxRow
from control.models.people import Role
from tests.helpers.practice import Hand, Site

INVITATION = {"email": "Noor@Example.org", "name": "Noor Haddad", "roles": ["practitioner", "support"]}


async def _newest_link(db: Database) -> str:
    async with db.reading() as session:
        row = await session.scalar(select(OutboxRow).order_by(OutboxRow.created_at.desc(), OutboxRow.id).limit(1))
    assert row is not None
    found = re.search(r"/sign-in/link/([\w-]+)", str(row.secrets or row.body_text))
    assert found is not None
    return found.group(1)


async def _names(hand: Hand, query: str = "") -> list[str]:
    status, body = await hand.get(f"/api/people{query}")
    assert status == 200, body
    return [one["name"] for one in body["people"]]


def _refusals(site: Site) -> list[tuple[Actor | None, int]]:
    world = site.world
    return [(None, 401), (world.bob, 403), (world.charlie, 403), (world.alice, 403)]


async def test_only_an_admin_finds_invites_and_changes_people(site: Site) -> None:
    before = await _names(await site.hand_of(site.world.dana))
    bob = site.world.bob.person_id
    for who, status in _refusals(site):
        hand = await site.hand_of(who)
        assert (await hand.get("/api/people"))[0] == status
        assert (await hand.get("/api/audit"))[0] == status
        assert (await hand.post("/api/people", INVITATION))[0] == status
        assert (await hand.post(f"/api/people/{bob}/roles", {"roles": ["admin"]}))[0] == status
        assert (await hand.post(f"/api/people/{bob}/sign-out"))[0] == status
        assert (await hand.post(f"/api/people/{bob}/invite-again"))[0] == status
    assert await _names(await site.hand_of(site.world.dana)) == before
    assert (await (await site.hand_of(site.world.bob)).get("/api/account"))[1]["roles"] == ["client"]


async def test_people_are_found_by_part_of_name_or_address_and_by_role(site: Site) -> None:
    dana = await site.hand_of(site.world.dana)
    assert await _names(dana, "?q=bOB") == ["Bob Client"]
    assert await _names(dana, "?q=charlie.stranger@example") == ["Charlie Stranger"]
    assert await _names(dana, "?role=admin") == ["Dana Admin"]
    assert sorted(await _names(dana, "?role=practitioner")) == ["Alice Owner", "Erin Other"]
    for odd in ("%25", "_", "%5C", "'"):
        assert await _names(dana, f"?q={odd}") == [], odd
    assert (await dana.get("/api/people?role=king"))[0] == 400
    assert (await dana.get("/api/people?color=red"))[0] == 400


async def test_people_come_in_pages_and_everybody_once(site: Site) -> None:
    dana = await site.hand_of(site.world.dana)
    everybody = await _names(dana)
    seen: list[str] = []
    cursor = ""
    while True:
        _, body = await dana.get("/api/people?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        seen += [one["name"] for one in body["people"]]
        cursor = body["next_cursor"]
        if not cursor:
            break
    assert seen == everybody
    assert (await dana.get("/api/people?cursor=nonsense"))[0] == 400


async def test_who_is_invited_signs_in_by_the_link_within_a_week(site: Site) -> None:
    world = site.world
    dana = await site.hand_of(world.dana)
    status, invited = await dana.post("/api/people", INVITATION)
    assert (status, invited["email"], invited["roles"]) == (201, "noor@example.org", ["practitioner", "support"])
    assert not invited["email_proven"]
    link = await _newest_link(world.db)
    world.clock.forward(days=6, hours=23)
    nobody = await site.hand_of(None)
    assert (await nobody.post(f"/api/sign-in/link/{link}"))[0] == 200
    assert (await nobody.get("/api/me"))[1]["person"]["roles"] == ["practitioner", "support"]
    again = await dana.post(f"/api/people/{invited['id']}/invite-again")
    assert (again[0], again[1]["code"]) == (409, "signed_in_before")
    assert [entry.action for entry in await entries_about(world.db, f"person:{invited['id']}")] == ["person.invited"]


async def test_an_invitation_that_ran_out_is_sent_again(site: Site) -> None:
    world = site.world
    dana = await site.hand_of(world.dana)
    _, invited = await dana.post("/api/people", INVITATION)
    old = await _newest_link(world.db)
    world.clock.forward(days=7)
    nobody = await site.hand_of(None)
    assert (await nobody.post(f"/api/sign-in/link/{old}"))[0] == 409
    dana = await site.hand_of(world.dana)
    assert await dana.post(f"/api/people/{invited['id']}/invite-again") == (202, {})
    assert (await nobody.post(f"/api/sign-in/link/{await _newest_link(world.db)}"))[0] == 200


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"email": "bob.client@example.org"}, 409),
        ({"email": "no address"}, 422),
        ({"name": ""}, 422),
        ({"name": "\u200b"}, 422),
        ({"roles": []}, 422),
        ({"roles": ["king"]}, 422),
        ({"roles": ["client"] * 5}, 422),
        ({"time_zone": "Mars/Olympus"}, 422),
        ({"is_demo": True}, 422),
    ],
)
async def test_an_odd_invitation_invites_nobody(site: Site, change: dict[str, Any], status: int) -> None:
    dana = await site.hand_of(site.world.dana)
    before = await _names(dana)
    assert (await dana.post("/api/people", {**INVITATION, **change}))[0] == status
    assert await _names(dana) == before


async def test_who_loses_a_role_is_signed_out_and_who_gains_one_is_not(site: Site) -> None:
    world = site.world
    dana, erin = await site.hand_of(world.dana), await site.hand_of(world.erin)
    path = f"/api/people/{world.erin.person_id}/roles"
    status, body = await dana.post(path, {"roles": ["support", "practitioner"]})
    assert (status, body["roles"]) == (200, ["practitioner", "support"])
    world.clock.forward(seconds=1)
    assert (await erin.get("/api/me"))[1]["person"]["roles"] == ["practitioner", "support"]
    await dana.post(path, {"roles": ["client"]})
    assert (await erin.get("/api/account"))[0] == 401
    assert (await dana.post(path, {"roles": ["client"]}))[0] == 200
    changes = await entries_about(world.db, f"person:{world.erin.person_id}")
    assert [dict(entry.detail) for entry in changes if entry.action == "person.roles"] == [
        {"before": ["practitioner", "support"], "after": ["client"]},
        {"before": ["practitioner"], "after": ["practitioner", "support"]},
    ]


async def test_an_admin_does_not_take_the_role_from_themselves(site: Site) -> None:
    world = site.world
    dana = await site.hand_of(world.dana)
    status, body = await dana.post(f"/api/people/{world.dana.person_id}/roles", {"roles": ["support"]})
    assert (status, body["code"]) == (403, "own_admin_role")
    await dana.post(f"/api/people/{world.erin.person_id}/roles", {"roles": ["practitioner", "admin"]})
    erin = await site.hand_of(Actor(world.erin.person_id, frozenset({Role.ADMIN}), "Erin", "UTC"))
    assert (await erin.post(f"/api/people/{world.dana.person_id}/roles", {"roles": ["client"]}))[0] == 200
    assert (await dana.get("/api/people"))[0] == 401


async def test_an_admin_signs_somebody_out_everywhere(site: Site) -> None:
    world = site.world
    dana, here, there = [await site.hand_of(who) for who in (world.dana, world.bob, world.bob)]
    assert await dana.post(f"/api/people/{world.bob.person_id}/sign-out") == (200, {"ended": 2})
    assert [(await one.get("/api/account"))[0] for one in (here, there, dana)] == [401, 401, 200]
    assert (await dana.post(f"/api/people/{'0' * 32}/sign-out"))[0] == 404
    assert (await dana.post(f"/api/people/{'0' * 32}/roles", {"roles": ["client"]}))[0] == 404
    assert (await dana.post(f"/api/people/{'0' * 32}/invite-again"))[0] == 404


async def test_what_somebody_changes_about_themselves_is_theirs_alone(site: Site) -> None:
    world = site.world
    bob, charlie = await site.hand_of(world.bob), await site.hand_of(world.charlie)
    changes = {"name": " Bob  B ", "time_zone": "Asia/Tokyo", "country": "NO", "wants_sms": False}
    status, body = _both(await bob.browser.send("PATCH", "/api/account", changes))
    assert status == 200
    assert {name: body[name] for name in changes} == {**changes, "name": "Bob B"}
    assert (await charlie.get("/api/account"))[1]["name"] == "Charlie Stranger"
    _, body = _both(await bob.browser.send("PATCH", "/api/account", {"country": ""}))
    assert (body["country"], body["name"]) == (None, "Bob B")
    nobody = await site.hand_of(None)
    assert (await nobody.get("/api/account"))[0] == 401
    assert (await nobody.browser.send("PATCH", "/api/account", {"name": "X"})).status == 401


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a" * 121},
        {"name": "a\u202eb"},
        {"time_zone": "Nowhere/City"},
        {"language": "xx"},
        {"country": "ZZ"},
        {"country": "Norway"},
        {"email": "other@example.org"},
        {"roles": ["admin"]},
        {"wants_sms": "perhaps"},
    ],
)
async def test_an_odd_change_changes_nothing(site: Site, change: dict[str, Any]) -> None:
    bob = await site.hand_of(site.world.bob)
    before = await bob.get("/api/account")
    assert (await bob.browser.send("PATCH", "/api/account", {"wants_sms": False, **change})).status == 422
    assert await bob.get("/api/account") == before


async def test_the_audit_log_is_read_by_what_was_done_to_what_and_by_whom(site: Site) -> None:
    world = site.world
    dana = await site.hand_of(world.dana)
    await dana.post("/api/people", INVITATION)
    world.clock.forward(seconds=1)
    await dana.post(f"/api/people/{world.bob.person_id}/sign-out")
    _, body = await dana.get("/api/audit?action=person.")
    assert [one["action"] for one in body["entries"]] == ["person.signed_out", "person.invited"]
    assert body["entries"][0]["actor"] == {"id": world.dana.person_id, "name": "Dana Admin"}
    assert "oor" not in str(body["entries"][1]["detail"])
    _, body = await dana.get(f"/api/audit?subject=person:{world.bob.person_id}&actor={world.dana.person_id}&limit=1")
    assert [one["action"] for one in body["entries"]] == ["person.signed_out"]
    assert (await dana.get("/api/audit?action=%25"))[1]["entries"] == []
    assert (await dana.get("/api/audit?limit=0"))[0] == 400


async def test_notices_are_read_by_whom_they_are_for_only(site: Site) -> None:
    world = site.world
    await world.scheduled()
    bob, charlie, nobody = [await site.hand_of(who) for who in (world.bob, world.charlie, None)]
    _, body = await bob.get("/api/notices")
    assert body["unread"] == len(body["notices"]) > 0
    newest = body["notices"][0]["id"]
    assert (await charlie.get("/api/notices"))[1] == {"unread": 0, "notices": []}
    await charlie.post("/api/notices/read", {"up_to": newest})
    assert (await bob.get("/api/notices?limit=1"))[1]["unread"] == body["unread"]
    assert await bob.post("/api/notices/read", {"up_to": newest}) == (200, {"unread": 0})
    assert (await nobody.get("/api/notices"))[0] == 401
    assert (await nobody.post("/api/notices/read", {"up_to": 1}))[0] == 401
    for odd in (-1, 2**40, "1", None):
        assert (await bob.post("/api/notices/read", {"up_to": odd}))[0] == 422, odd


def _both(answer: Any) -> tuple[int, Any]:
    return answer.status, answer.body
