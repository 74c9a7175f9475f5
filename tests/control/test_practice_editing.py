"""What practitioners write about their own work: saved, checked, never anybody else's, and nothing agreed moves."""

from typing import Any

import pytest

from control import appointments, practice_editing
from control.practitioners import get_profile
from tests.helpers.practice import Site

SERVICE: dict[str, Any] = {
    "name": "Long talk",
    "lengthMinutes": 90,
    "price": "75.00",
    "currency": "EUR",
    "otherLengths": [60, 120],
    "bufferAfterMinutes": 10,
}


async def test_profile_is_saved_and_hidden_when_it_is_not_published(site: Site) -> None:
    world = site.world
    alice = await site.hand_of(world.alice)
    body = {"headline": "Slow and kind", "about": "First.\n\nSecond.", "modalities": ["Grief"], "languages": ["Norsk"]}
    assert (await alice.put("/api/my-profile", body))[0] == 204
    seen = await get_profile(world.db, world.alice.person_id)
    assert (seen.headline, seen.modalities, seen.languages) == ("Slow and kind", ("Grief",), ("Norsk",))
    stranger = await site.hand_of(None)
    assert (await stranger.get(f"/api/practitioners/{world.alice.person_id}"))[0] == 200
    assert (await alice.put("/api/my-profile", body | {"published": False}))[0] == 204
    assert (await stranger.get(f"/api/practitioners/{world.alice.person_id}"))[0] == 404
    status, mine = await alice.get("/api/my-practice")
    assert (status, mine["profile"]["published"]) == (200, False)


async def test_aftercare_is_saved_by_itself_and_the_profile_leaves_it_alone(site: Site) -> None:
    world = site.world
    alice = await site.hand_of(world.alice)
    assert (await alice.put("/api/my-aftercare", {"aftercare": " # Tonight\n\n- Be slow\n"}))[0] == 204
    assert (await alice.put("/api/my-profile", {"headline": "New"}))[0] == 204
    assert (await get_profile(world.db, world.alice.person_id)).aftercare == "# Tonight\n\n- Be slow"
    assert (await alice.get("/api/my-practice"))[1]["aftercare"] == "# Tonight\n\n- Be slow"
    for wrong in ({}, {"aftercare": "x" * 10_001}, {"aftercare": "a\u0000b"}, {"aftercare": "a", "more": 1}):
        assert (await alice.put("/api/my-aftercare", wrong))[0] == 422
    for who, status in ((world.bob, 403), (world.dana, 403), (None, 401)):
        assert (await (await site.hand_of(who)).put("/api/my-aftercare", {"aftercare": "x"}))[0] == status
    assert (await get_profile(world.db, world.erin.person_id)).aftercare == ""


async def test_policy_counts_for_bookings_from_now_on(site: Site) -> None:
    world = site.world
    before = await world.scheduled()
    alice = await site.hand_of(world.alice)
    body = {"lateWindowHours": 48, "lateFeePercent": 0, "noShowFeePercent": 25}
    assert (await alice.put("/api/my-policy", body))[0] == 204
    after = await world.book(start=world.first_start.replace(hour=15))
    seen = await appointments.get_for(world.db, world.bob, before.id)
    assert (seen.late_window_minutes, seen.late_fee_bp, seen.no_show_fee_bp) == (1440, 5_000, 10_000)
    assert (after.late_window_minutes, after.late_fee_bp, after.no_show_fee_bp) == (2880, 0, 2_500)


async def test_service_is_added_changed_and_offered_no_longer(site: Site) -> None:
    world = site.world
    alice = await site.hand_of(world.alice)
    status, made = await alice.post("/api/my-services", SERVICE)
    assert status == 201
    path = f"/api/my-services/{made['id']}"
    assert (await alice.put(path, SERVICE | {"price": "80", "currency": "USD"}))[0] == 204
    _, mine = await alice.get("/api/my-practice")
    (one,) = [service for service in mine["services"] if service["id"] == made["id"]]
    assert (one["price_minor"], one["currency"], one["otherLengths"]) == (8_000, "USD", [60, 120])
    view = await world.scheduled()
    old = f"/api/my-services/{world.service_id}"
    assert (await alice.put(old, SERVICE | {"active": False}))[0] == 204
    seen = await appointments.get_for(world.db, world.bob, view.id)
    assert (seen.service_name, seen.price_minor) == ("Individual session", 5_000)
    bob = await site.hand_of(world.bob)
    body = {"serviceId": world.service_id, "start": "2026-03-02T15:00:00Z", "timeZone": "UTC"}
    assert (await bob.post("/sessions/book", body))[0] == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"price": "0.99"},
        {"price": "251"},
        {"price": "-5"},
        {"price": "50.001"},
        {"price": "NaN"},
        {"currency": "CHF"},
        {"price": "1", "currency": "JPY"},
        {"lengthMinutes": 4},
        {"lengthMinutes": 481},
        {"lengthMinutes": "60"},
        {"otherLengths": [1]},
        {"otherLengths": [60] * 9},
        {"mode": "smoke"},
        {"name": ""},
        {"name": "x" * 121},
        {"isDiscovery": True},
        {"bookingWindowDays": 0},
        {"bufferAfterMinutes": -1},
        {"surprise": 1},
    ],
)
async def test_service_that_makes_no_sense_is_refused_and_nothing_changes(site: Site, wrong: dict[str, Any]) -> None:
    world = site.world
    alice = await site.hand_of(world.alice)
    before = await practice_editing.my_practice(world.db, world.alice)
    assert (await alice.post("/api/my-services", SERVICE | wrong))[0] == 422
    assert (await alice.put(f"/api/my-services/{world.service_id}", SERVICE | wrong))[0] == 422
    assert await practice_editing.my_practice(world.db, world.alice) == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/my-profile", {"headline": "x" * 161}),
        ("/api/my-profile", {"modalities": ["x"] * 13}),
        ("/api/my-profile", {"languages": [""]}),
        ("/api/my-profile", {"about": "a\u0000b"}),
        ("/api/my-policy", {"lateWindowHours": -1, "lateFeePercent": 0, "noShowFeePercent": 0}),
        ("/api/my-policy", {"lateWindowHours": 24, "lateFeePercent": 101, "noShowFeePercent": 0}),
        ("/api/my-policy", {"lateWindowHours": 24}),
    ],
)
async def test_words_that_make_no_sense_are_refused(site: Site, path: str, body: dict[str, Any]) -> None:
    alice = await site.hand_of(site.world.alice)
    assert (await alice.put(path, body))[0] == 422


async def test_another_practitioners_service_is_not_there(site: Site) -> None:
    world = site.world
    erin = await site.hand_of(world.erin)
    assert (await erin.put(f"/api/my-services/{world.service_id}", SERVICE))[0] == 404
    for who in (world.bob, world.dana):
        hand = await site.hand_of(who)
        assert (await hand.get("/api/my-practice"))[0] == 403
        assert (await hand.put("/api/my-profile", {}))[0] == 403
        assert (await hand.post("/api/my-services", SERVICE))[0] == 403


async def test_changed_consent_text_asks_everybody_again(site: Site) -> None:
    from control.consents import Purpose

    world = site.world
    view = await world.confirmed()
    await world.consent(world.bob, view.id, Purpose.CARE)
    alice = await site.hand_of(world.alice)
    status, made = await alice.post("/api/my-consent-text", {"title": "Care", "body": "New words."})
    assert (status, made["version"]) == (201, 2)
    bob = await site.hand_of(world.bob)
    _, why = await bob.get(f"/api/appointments/{view.id}/explain")
    assert [one["code"] for one in why["reasons"]] == ["consent_required"]
