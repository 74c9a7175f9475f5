"""One session through the JSON API: from the directory to a rating, by the people who may, in the order they do it."""

import asyncio

from control.keys import WAITING_ROOM
from tests.helpers.practice import Site


async def test_session_from_directory_to_rating(site: Site) -> None:
    world = site.world
    bob, alice = await site.hand_of(world.bob), await site.hand_of(world.alice)
    status, directory = await bob.get("/api/practitioners?query=individual")
    assert status == 200
    assert [one["name"] for one in directory["practitioners"]] == ["Alice Owner"]
    status, day = await bob.get(f"/professional/{world.alice.person_id}/availability?date=2026-03-02")
    assert status == 200
    start = next(one for one in day["services"] if one["serviceId"] == world.service_id)["slots"][0]["start"]
    assert start == "2026-03-02T14:00:00Z"

    status, booked = await bob.post(
        "/sessions/book", {"serviceId": world.service_id, "start": start, "timeZone": "Europe/Oslo"}
    )
    assert (status, booked["status"]) == (201, "pending")
    assert booked["hold_expires_at"] == "2026-03-02T09:10:00Z"
    assert booked["payment"]["amount_minor"] == 5_000
    one = f"/api/appointments/{booked['id']}"
    status, paid = await bob.post(f"{one}/payment", {"paymentMethod": "wallet", "paymentMethodToken": None})
    assert (status, paid["status"], paid["payment"]["status"]) == (200, "scheduled", "held")

    status, explained = await bob.get(f"{one}/explain")
    assert [reason["code"] for reason in explained["reasons"]] == ["too_early", "consent_required"]
    status, care = await bob.get(f"{one}/consents/care")
    assert (status, care["answer"]) == (200, None)
    status, given = await bob.post(f"{one}/consents/care", {"answer": "yes", "text_id": care["text"]["id"]})
    assert (status, given["answer"]) == (200, "yes")

    world.clock.forward(hours=4, minutes=55)
    status, link = await bob.post(f"/sessions/{booked['id']}/generate-call-link")
    assert status == 200
    assert set(link) == {
        *("session_id", "room_name", "media_url", "call_url", "access_token"),
        *("participant_identity", "participant_role", "ice_servers"),
    }
    assert link["room_name"] == f"session_{booked['id']}"
    assert link["media_url"] == "ws://localhost:8080/signaling"
    assert link["participant_role"] == "client"

    status, started = await alice.post(f"{one}/start")
    assert (status, started["status"]) == (200, "in_progress")
    gatekeeper = site.app[WAITING_ROOM]
    admission = await gatekeeper.redeem(link["access_token"])
    assert admission.display_name == "Bob Client"
    assert admission.login
    status, recording = await bob.get(f"{one}/consents/recording")
    assert status == 200
    status, _ = await bob.post(f"{one}/consents/recording", {"answer": "no", "text_id": recording["text"]["id"]})
    assert status == 200
    for person in (world.alice, world.bob):
        assert await gatekeeper.place(booked["id"], person.person_id) == "admitted"

    world.clock.forward(minutes=50)
    status, completed = await alice.post(f"{one}/complete-session", {"isNoShow": False})
    assert (status, completed["status"], completed["payment"]["status"]) == (200, "completed", "earned")
    status, wallet = await alice.get("/api/wallet")
    assert wallet["balances"] == [{"kind": "earnings", "currency": "EUR", "amount_minor": 4_500}]
    rating = {"rating": 5, "feedback": "Thank you", "isPublic": True, "wouldRecommend": True, "tags": ["calm"]}
    status, rated = await bob.post(f"{one}/rate-session", rating)
    assert (status, rated["rating"]) == (201, 5)
    status, profile = await bob.get(f"/api/practitioners/{world.alice.person_id}")
    assert profile["rating"] == {"mean": 5.0, "count": 1}
    assert profile["reviews"][0]["author"] == "Bob"
    assert (await bob.get("/sessions/my-bookings"))[1]["sessions"][0]["id"] == booked["id"]
    assert (await alice.get("/professional/sessions"))[1]["sessions"][0]["id"] == booked["id"]


async def test_signing_out_leaves_the_session_that_this_sign_in_opened(site: Site) -> None:
    world = site.world
    bob, alice = await site.hand_of(world.bob), await site.hand_of(world.alice)
    start = "2026-03-02T14:00:00Z"
    _, booked = await bob.post(
        "/sessions/book", {"serviceId": world.free_service_id, "start": start, "timeZone": "Europe/Oslo"}
    )
    one = f"/api/appointments/{booked['id']}"
    _, care = await bob.get(f"{one}/consents/care")
    await bob.post(f"{one}/consents/care", {"answer": "yes", "text_id": care["text"]["id"]})
    world.clock.forward(hours=4, minutes=55)
    sockets = {}
    for name, hand in (("alice", alice), ("bob", bob)):
        status, link = await hand.post(f"/sessions/{booked['id']}/generate-call-link")
        assert status == 200, link
        sockets[name] = await hand.browser.client.ws_connect("/signaling")
        await sockets[name].send_json({"type": "hello", "version": 1, "token": link["access_token"]})
        assert (await sockets[name].receive_json(timeout=30))["type"] == "welcome"
    assert (await bob.post("/api/sign-out"))[0] == 200
    async with asyncio.timeout(30):
        while (said := await sockets["bob"].receive_json())["type"] != "removed":
            pass
    assert said["code"] == "signed_out"
    await sockets["alice"].send_json({"type": "ping", "received": 0})
    async with asyncio.timeout(30):
        while (await sockets["alice"].receive_json())["type"] != "pong":
            pass
