"""The directory's filters, weekly series, a client's file, the editors, and what an admin may do with a session."""

from datetime import timedelta

from control import booking, series
from control.booking import Terms, Wanted
from control.client_files import ClientFiles
from control.keys import CLIENT_FILES
from control.money.payments import Method
from tests.helpers.books import take_place
from tests.helpers.practice import Site
from tests.web.conftest import Open
from tests.web.test_pages import flaws_of

HOUR = timedelta(hours=1)


async def test_filters_of_the_directory_stay_chosen_and_narrow(site: Site, open_page: Open) -> None:
    everybody = await open_page(None, "/practitioners")
    assert "Alice Owner" in everybody.text
    found = await open_page(None, "/practitioners?mode=video&price=50&free=7&q=individual")
    assert "Alice Owner" in found.text
    assert "Erin Other" not in found.text
    assert found.all("input", name="price")[0].attributes["value"] == "50"
    chosen = [one.attributes["value"] for one in found.all("option") if "selected" in one.attributes]
    assert chosen == ["video", "7"]
    nobody = await open_page(None, "/practitioners?mode=audio")
    assert "Nobody found" in nobody.text


async def test_weeks_that_are_not_free_are_listed_before_paying_and_left_out(site: Site, open_page: Open) -> None:
    world = site.world
    await world.offer_mondays()
    await world.book(world.charlie, world.first_start + timedelta(weeks=1))
    page = await open_page(world.bob, f"/book/{world.service_id}/series?start=2026-03-02T14:00:00Z&weeks=3")
    boxes = page.all("input", name="starts")
    assert ["disabled" in one.attributes for one in boxes] == [False, True, False]
    assert "2 of 3 weeks are free" in page.text
    assert "Somebody has this time" in page.text
    assert "/sessions/book-series" in page.actions
    for nonsense in ("", "?start=x", "?weeks=3"):
        page = await open_page(world.bob, f"/book/{world.service_id}/series{nonsense}")
        assert page.headers["Location"] == f"/book/{world.service_id}"


async def test_series_page_pays_for_all_and_is_its_clients_alone(site: Site, open_page: Open) -> None:
    world = site.world
    await world.offer_mondays()
    starts = [world.first_start, world.first_start + timedelta(weeks=1)]
    from uuid import uuid4
    from zoneinfo import ZoneInfo

    wanted = Wanted(world.service_id, starts[0], ZoneInfo("Europe/Oslo"), uuid4().hex)
    made = await series.book_series(world.db, world.bob, wanted, starts, now=world.clock())
    path = f"/series/{made[0].series_id}"
    page = await open_page(world.bob, path)
    assert flaws_of(page) == []
    assert f"/api{path}/payment" in page.actions
    assert "Pay €100.00" in page.text
    for who in (world.alice, world.charlie, world.dana):
        assert (await open_page(who, path)).status == 404
    await series.pay_series(world.db, world.bob, made[0].series_id or "", Method.WALLET, now=world.clock())
    page = await open_page(world.bob, path)
    assert flaws_of(page) == []
    assert not page.actions


async def test_client_file_shows_notes_to_their_practitioner_only(site: Site, open_page: Open) -> None:
    world = site.world
    view = await world.scheduled()
    files: ClientFiles = site.app[CLIENT_FILES]
    words = "Sleeps <b>badly</b>"
    await files.add_note(world.alice, world.bob.person_id, words, now=world.clock())
    path = f"/therapist/clients/{world.bob.person_id}"
    page = await open_page(world.alice, path)
    assert flaws_of(page) == []
    assert words in page.text
    assert words not in page.html  # escaped
    assert f"/sessions/{view.id}" in page.links
    for who in (world.bob, world.charlie, world.dana, world.erin):
        other = await open_page(who, path)
        assert other.status in (403, 404)
        assert "Sleeps" not in other.html
    for path in (f"/sessions/{view.id}", "/therapist/clients", "/therapist/dashboard"):
        assert "Sleeps" not in (await open_page(world.alice, path)).html


async def test_editors_are_filled_with_what_is_saved(site: Site, open_page: Open) -> None:
    world = site.world
    services = await open_page(world.alice, "/therapist/services")
    assert f"/api/my-services/{world.service_id}" in services.actions
    prices = [one.attributes["value"] for one in services.all("input", name="price")]
    assert prices == ["0.00", "50.00", ""]
    assert services.all("input", name="lateWindowHours")[0].attributes["value"] == "24"
    profile = await open_page(world.alice, "/therapist/profile")
    assert {"/api/my-profile", "/api/my-consent-text"} <= profile.actions
    assert "What this is." in profile.text
    alice = await site.hand_of(world.alice)
    written = {"aftercare": "# Tonight\nBe <slow>.\n\n- https://tea.example\n"}
    assert (await alice.put("/api/my-aftercare", written))[0] == 204
    done = await take_place(world, await world.scheduled())
    for who, path in ((world.alice, "/therapist/aftercare"), (world.bob, f"/sessions/{done.id}/afterwards")):
        page = await open_page(who, path)
        assert "Be &lt;slow&gt;." in page.html
        assert '<li><a href="https://tea.example"' in page.html
        assert "# Tonight" not in page.html.replace("# Tonight\nBe", "")
    other = await open_page(world.erin, "/therapist/services")
    assert world.service_id not in other.html


async def test_admin_activates_a_session_that_awaits_it(site: Site, open_page: Open) -> None:
    from uuid import uuid4
    from zoneinfo import ZoneInfo

    world = site.world
    wanted = Wanted(world.service_id, world.first_start + HOUR, ZoneInfo("UTC"), uuid4().hex)
    held = await booking.book(world.db, world.bob, wanted, terms=Terms(needs_activation=True), now=world.clock())
    await booking.pay(world.db, world.bob, held.id, Method.WALLET, now=world.clock())
    activate = f"/api/appointments/{held.id}/activate"
    assert (await open_page(world.alice, f"/sessions/{held.id}")).status == 404
    page = await open_page(world.dana, f"/admin/appointments?id={held.id}")
    assert flaws_of(page) == []
    assert activate in page.actions
    dana = await site.hand_of(world.dana)
    assert (await dana.post(activate))[0] == 200
    assert activate not in (await open_page(world.dana, f"/admin/appointments?id={held.id}")).actions
    assert (await open_page(world.alice, f"/sessions/{held.id}")).status == 200
