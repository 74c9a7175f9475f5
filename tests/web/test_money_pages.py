"""The pages about money: whole for those they belong to, and closed to everybody else."""

import re

import pytest
from sqlalchemy import select

from control.keys import SETTINGS
from control.language import speaking
from control.models.purchases import Receipt
from control.money import credits, purchases
from control.money.receipt_pdf import paper_rows, paper_sums, receipt_pdf
from control.money.receipts import paper_for
from tests.helpers.practice import Site, World
from tests.web.conftest import OpenAll
from tests.web.test_pages import completed, flaws_of

#: path → who may open it.
PAGES = {
    "/wallet": "bob charlie",
    "/wallet/pay/{top_up}": "bob",
    "/wallet/pay/{package}": "bob",
    "/wallet/pay/{bought}": "bob",
    "/receipts/{receipt}": "bob dana",
    "/therapist/earnings": "alice erin",
    "/admin/refunds": "dana",
    "/admin/refunds?q=bob": "dana",
    "/admin/refunds?payment={payment}&amount=10": "dana",
    "/admin/refunds?payment={payment}&amount=nonsense": "dana",
    "/admin/payouts": "dana",
}


async def first_receipt(world: World) -> Receipt:
    async with world.db.reading() as session:
        return (await session.scalars(select(Receipt).order_by(Receipt.number))).first() or Receipt()


@pytest.fixture
async def ids(site: Site) -> dict[str, str]:
    """A session that was paid and took place, a package of which one is bought, a top-up that is not paid yet."""
    world = site.world
    now = world.clock()
    await completed(world, await world.scheduled())
    receipt = await first_receipt(world)
    await credits.set_offer(world.db, world.alice, world.service_id, 5, 20_000, now=now)
    (offer,) = await credits.offers(world.db)
    top_up = await purchases.begin_top_up(world.db, world.bob, 5_000, "EUR", key="top-up", now=now)
    package = await purchases.begin_credits(world.db, world.bob, offer.id, key="package", now=now)
    bought = await purchases.begin_credits(world.db, world.bob, offer.id, key="bought", now=now)
    await purchases.pay_from_wallet(world.db, world.bob, bought.id, now=now)
    return {
        "top_up": top_up.id,
        "package": package.id,
        "bought": bought.id,
        "receipt": receipt.id,
        "payment": receipt.payment_id,
    }


@pytest.mark.parametrize("name", ["alice", "bob", "charlie", "dana", "erin"])
async def test_money_pages_are_whole_for_their_readers_and_closed_to_others(
    site: Site, ids: dict[str, str], open_pages: OpenAll, name: str
) -> None:
    may = {path.format(**ids): name in who.split() for path, who in PAGES.items()}
    pages = await open_pages(getattr(site.world, name), may)
    assert {path: flaws_of(page) for path, page in pages.items() if may[path] and flaws_of(page)} == {}
    for path, page in pages.items():
        if not may[path]:
            assert page.status in {403, 404}, path
            assert "Bob Client" not in page.text.replace("Bob Client , your account", ""), path


async def test_receipt_is_a_pdf_too_for_its_payer_and_for_nobody_else(
    site: Site, ids: dict[str, str], open_pages: OpenAll
) -> None:
    path = f"/receipts/{ids['receipt']}.pdf"
    browser = (await site.hand_of(site.world.bob)).browser
    async with browser.client.session.get(browser.client.make_url(path), headers=browser.headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "application/pdf"
        content = await answer.read()
    assert content.startswith(b"%PDF-")
    assert b"Receipt 2026-000001" in content or "Receipt 2026-000001".encode("utf-16-be") in content
    for stranger in (site.world.charlie, site.world.alice):
        assert (await open_pages(stranger, [path]))[path].status == 404


async def test_receipt_is_written_in_its_readers_language(site: Site, ids: dict[str, str]) -> None:
    with speaking("de"):
        paper = await paper_for(site.world.db, site.world.bob, ids["receipt"], site.app[SETTINGS].practice)
        rows, sums = dict(paper_rows(paper)), paper_sums(paper)
        title, made = paper.title, receipt_pdf(paper)
    assert (title, rows["Bezahlt mit"]) == ("Beleg", "Guthaben")
    assert sums[0][0] == "Betrag"
    assert re.fullmatch(r"[\d.]+,\d\d\s€", sums[0][1])
    assert made.startswith(b"%PDF-")


async def test_pay_page_offers_what_can_pay_and_says_that_the_test_gateway_is_one(
    site: Site, ids: dict[str, str], open_pages: OpenAll
) -> None:
    pages = await open_pages(site.world.bob, [f"/wallet/pay/{ids[name]}" for name in ("top_up", "package", "bought")])
    ways = [{one.attributes["value"] for one in page.all("input", name="paymentMethod")} for page in pages.values()]
    assert ways == [{"demo"}, {"wallet", "demo"}, set()]
    assert all("no real money moves" in page.text for page in list(pages.values())[:2])
