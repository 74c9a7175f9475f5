"""People, sign-in and web sessions: what works, what works once, and what a stranger learns, which is nothing."""

import asyncio
from datetime import timedelta

import pytest
from argon2 import extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import select

from control import accounts
from control.accounts import LINK_LIFETIME, SESSION_LIFETIME, Actor, local_path, normalised_email
from control.database import Database
from control.errors import Conflict, Invalid
from control.models.outbox import OutboxRow
from control.models.people import Credential, LinkPurpose, OneTimeLink, Person, Role, WebSession
from control.second_factor import FactorRules
from control.web_sessions import revoke_session, session_of
from tests.helpers.browsers import PASSWORD
from tests.helpers.clock import ManualClock
from tests.helpers.control import OWN_HASHER, AddSomeone, NewBrowser
from tests.helpers.practice import find_by_email
from tests.helpers.queries import counted

NO_FACTORS = FactorRules(b"", for_staff=False, demo=False)


async def _link_of_newest_mail(db: Database) -> str:
    async with db.reading() as session:
        rows = (await session.scalars(select(OutboxRow).order_by(OutboxRow.created_at))).all()
    assert rows[-1].secrets is not None
    return str(rows[-1].secrets["path"]).rsplit("/", 1)[1]


async def _mails(db: Database) -> list[str]:
    async with db.reading() as session:
        return list(await session.scalars(select(OutboxRow.kind)))


@pytest.mark.parametrize("text", ["", "a", "a@b", "a b@c.org", "a@b..", "<a@b.org>", "a@b.org\nBcc: x@y.org", "@b.org"])
def test_what_can_not_be_an_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        normalised_email(text)


def test_addresses_are_one_whatever_their_capitals() -> None:
    assert normalised_email(" Mina@Example.COM ") == "mina@example.com"


@pytest.mark.parametrize(
    "path",
    ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\r\nSet-Cookie: x", "", None, "/" * 500],
)
def test_a_return_path_never_leads_elsewhere(path: str | None) -> None:
    assert local_path(path) is None


def test_a_local_return_path_stays() -> None:
    assert local_path("/sessions/abc?x=1#y") == "/sessions/abc?x=1#y"


async def test_a_password_signs_in_and_the_session_is_found_by_its_token(
    db: Database, add_someone: AddSomeone, clock: ManualClock
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    signed_in = await accounts.sign_in_by_password(db, mina.email.upper(), PASSWORD, now=clock())
    assert signed_in is not None
    found = await session_of(db, signed_in.token, rules=NO_FACTORS, now=clock())
    assert found is not None
    assert (found.session_id, found.actor) == (signed_in.session_id, mina.actor)


async def test_a_crowd_of_sessions_is_found_in_few_statements_each_by_its_own_token(
    db: Database, add_someone: AddSomeone, clock: ManualClock
) -> None:
    people = [await add_someone(f"Person {n}", Role.CLIENT) for n in range(12)]
    opened = [await accounts.sign_in_by_password(db, who.email, PASSWORD, now=clock()) for who in people]
    tokens = [one.token for one in opened if one is not None]
    async with counted(db) as alone:
        await session_of(db, tokens[0], rules=NO_FACTORS, now=clock())
    async with counted(db) as together:
        wanted = (session_of(db, token, rules=NO_FACTORS, now=clock()) for token in [*tokens, "nobody's"])
        found = await asyncio.gather(*wanted)
    assert [one and one.actor for one in found] == [*(who.actor for who in people), None]
    assert (alone.count, together.count <= 2) == (1, True)


async def test_wrong_password_unknown_address_and_unproven_address_are_answered_alike(
    db: Database, add_someone: AddSomeone, clock: ManualClock
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    unproven = await add_someone("Theo", Role.CLIENT, proven=False)
    answers = [
        await accounts.sign_in_by_password(db, mina.email, "another password", now=clock()),
        await accounts.sign_in_by_password(db, "nobody@example.com", PASSWORD, now=clock()),
        await accounts.sign_in_by_password(db, unproven.email, PASSWORD, now=clock()),
    ]
    assert answers == [None, None, None]


async def test_only_hashes_are_stored(db: Database, add_someone: AddSomeone, clock: ManualClock) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    await accounts.send_sign_in_link(db, mina.email, return_path=None, now=clock())
    token = await _link_of_newest_mail(db)
    signed_in = await accounts.consume_link(db, token, now=clock())
    async with db.reading() as session:
        assert (await session.scalars(select(OneTimeLink.token_hash))).one() != token
        assert (await session.scalars(select(WebSession.token_hash))).one() != signed_in.token
        assert (await session.scalars(select(Credential.secret_hash))).one().startswith("$argon2id$")


def test_passwords_are_hashed_as_the_library_advises() -> None:
    assert extract_parameters(OWN_HASHER.hash("a long enough password")) == RFC_9106_LOW_MEMORY


async def test_a_link_signs_in_once_even_when_used_twice_at_the_same_time(
    db: Database, add_someone: AddSomeone, clock: ManualClock
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    await accounts.send_sign_in_link(db, mina.email, return_path="/sessions/1", now=clock())
    token = await _link_of_newest_mail(db)
    outcomes = await asyncio.gather(
        *(accounts.consume_link(db, token, now=clock()) for _ in range(5)), return_exceptions=True
    )
    used = [outcome for outcome in outcomes if isinstance(outcome, accounts.SignedIn)]
    assert len(used) == 1
    assert used[0].return_path == "/sessions/1"
    refused = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert [problem.code for problem in refused] == ["link_used_or_expired"] * 4


async def test_a_link_expires_to_the_second(db: Database, add_someone: AddSomeone, clock: ManualClock) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    for wait, works in ((LINK_LIFETIME - timedelta(seconds=1), True), (LINK_LIFETIME, False)):
        await accounts.send_sign_in_link(db, mina.email, return_path=None, now=clock())
        token = await _link_of_newest_mail(db)
        clock.now += wait
        if works:
            await accounts.consume_link(db, token, now=clock())
        else:
            with pytest.raises(Conflict):
                await accounts.consume_link(db, token, now=clock())


async def test_an_unknown_address_gets_no_mail_and_no_row(db: Database, clock: ManualClock) -> None:
    await accounts.send_sign_in_link(db, "nobody@example.com", return_path=None, now=clock())
    assert await _mails(db) == []


async def test_signing_up_makes_a_client_who_is_proven_by_the_link(db: Database, clock: ManualClock) -> None:
    await accounts.sign_up(
        db, email="New@example.com", name="  New   Person ", time_zone="Europe/Oslo", return_path="/book/1", now=clock()
    )
    before = await find_by_email(db, "new@example.com")
    assert before is not None
    assert before == Actor(before.person_id, frozenset({Role.CLIENT}), "New Person", "Europe/Oslo")
    signed_in = await accounts.consume_link(db, await _link_of_newest_mail(db), now=clock())
    assert signed_in.return_path == "/book/1"
    async with db.reading() as session:
        assert (await session.scalars(select(Person.email_proven_at))).one() == clock()
    assert sorted(await _mails(db)) == ["sign_in_link", "welcome"]


async def test_ten_who_sign_up_under_one_address_at_once_are_one_client(db: Database, clock: ManualClock) -> None:
    again = {"email": "nell@example.org", "name": "Nell", "time_zone": "UTC", "return_path": None, "now": clock()}
    await asyncio.gather(*(accounts.sign_up(db, **again) for _ in range(10)))  # type: ignore[arg-type]
    async with db.reading() as session:
        assert (await session.scalars(select(Person.name))).all() == ["Nell"]
    assert await _mails(db) == ["sign_in_link"] * 10


async def test_signing_up_again_changes_nothing_but_sends_a_link(
    db: Database, add_someone: AddSomeone, clock: ManualClock
) -> None:
    mina = await add_someone("Mina", Role.PRACTITIONER)
    await accounts.sign_up(db, email=mina.email, name="Somebody Else", time_zone="UTC", return_path=None, now=clock())
    assert await find_by_email(db, mina.email) == mina.actor
    assert await _mails(db) == ["sign_in_link"]


async def test_a_session_ends_by_revoking_and_by_time(
    db: Database, add_someone: AddSomeone, clock: ManualClock
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    first, second = [await accounts.sign_in_by_password(db, mina.email, PASSWORD, now=clock()) for _ in range(2)]
    assert first is not None
    assert second is not None
    await revoke_session(db, first.session_id, now=clock())
    assert await session_of(db, first.token, rules=NO_FACTORS, now=clock()) is None
    clock.now += SESSION_LIFETIME - timedelta(seconds=1)
    assert await session_of(db, second.token, rules=NO_FACTORS, now=clock()) is not None
    clock.now += timedelta(seconds=1)
    assert await session_of(db, second.token, rules=NO_FACTORS, now=clock()) is None


async def test_an_address_is_given_to_one_person_only(db: Database, add_someone: AddSomeone) -> None:
    await add_someone("Mina", Role.CLIENT)
    with pytest.raises(Conflict) as refused:
        await add_someone("Mina", Role.ADMIN)
    assert refused.value.code == "email_taken"


@pytest.mark.parametrize("password", ["short", "x" * 201])
async def test_a_password_of_the_wrong_length_is_refused(password: str) -> None:
    with pytest.raises(Invalid):
        await accounts.hash_password(password)


async def test_hashing_leaves_the_loop_free(db: Database, add_someone: AddSomeone, clock: ManualClock) -> None:
    """The fixture `loop_is_free` fails this test if a hash is computed on the loop."""
    mina = await add_someone("Mina", Role.CLIENT)
    await asyncio.gather(
        *(accounts.sign_in_by_password(db, mina.email, f"wrong password {n}", now=clock()) for n in range(6))
    )


# -- over HTTP ---------------------------------------------------------------------------------------------------


async def test_signing_in_sets_a_cookie_that_pages_can_not_read_and_me_knows_the_person(
    new_browser: NewBrowser, add_someone: AddSomeone
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    browser = await new_browser()
    assert (await browser.get("/api/me")).body["person"] is None
    answer = await browser.sign_in(mina.email)
    assert (answer.status, answer.body["next"]) == (200, "/dashboard")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    me = (await browser.get("/api/me")).body["person"]
    assert me == {"id": mina.actor.person_id, "name": "Mina", "time_zone": "UTC", "roles": ["client"]}


async def test_signing_out_ends_the_session_even_for_a_kept_cookie(
    new_browser: NewBrowser, add_someone: AddSomeone
) -> None:
    browser = await new_browser(await add_someone("Mina", Role.CLIENT))
    kept = {cookie.key: cookie.value for cookie in browser.client.session.cookie_jar}
    assert (await browser.post("/api/sign-out")).status == 200
    other = await new_browser()
    other.headers["Cookie"] = f"holdspace={kept['holdspace']}"
    assert (await other.get("/api/me")).body["person"] is None


async def test_a_link_is_followed_over_http_with_its_return_path_and_only_by_post(
    new_browser: NewBrowser, add_someone: AddSomeone, db: Database
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    browser = await new_browser()
    assert (await browser.post("/api/sign-in/link", {"email": mina.email, "next": "/sessions/1"})).status == 202
    token = await _link_of_newest_mail(db)
    assert (await browser.get(f"/api/sign-in/link/{token}")).status == 405
    answer = await browser.post(f"/api/sign-in/link/{token}")
    assert (answer.status, answer.body["next"]) == (200, "/sessions/1")
    again = await (await new_browser()).post(f"/api/sign-in/link/{token}")
    assert (again.status, again.code) == (409, "link_used_or_expired")


async def test_a_return_path_elsewhere_is_dropped(new_browser: NewBrowser, add_someone: AddSomeone) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    browser = await new_browser()
    body = {"email": mina.email, "password": PASSWORD, "next": "//evil.example/x"}
    assert (await browser.post("/api/sign-in", body)).body["next"] == "/dashboard"


async def test_known_and_unknown_addresses_get_the_same_answers(
    new_browser: NewBrowser, add_someone: AddSomeone
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    browser = await new_browser()
    for path, body in (
        ("/api/sign-in/link", {}),
        ("/api/sign-up", {"name": "Anyone"}),
        ("/api/sign-in", {"password": "not the password"}),
    ):
        known = await browser.post(path, {"email": mina.email, **body})
        unknown = await browser.post(path, {"email": "nobody@example.com", **body})
        for answer in (known, unknown):
            answer.body.pop("request_id", None)
        assert (known.status, known.body) == (unknown.status, unknown.body)


async def test_too_many_tries_for_one_account_are_refused_and_forgotten_in_time(
    new_browser: NewBrowser, add_someone: AddSomeone, clock: ManualClock
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    browser = await new_browser()
    tries = [await browser.sign_in(mina.email, "not the password") for _ in range(11)]
    assert [answer.status for answer in tries] == [403] * 10 + [429]
    assert int(tries[-1].headers["Retry-After"]) == 15 * 60
    assert (await browser.sign_in("other@example.com", "not the password")).status == 403
    clock.forward(minutes=15)
    assert (await browser.sign_in(mina.email)).status == 200


async def test_a_signed_in_browser_that_signs_in_again_leaves_no_session_behind(
    new_browser: NewBrowser, add_someone: AddSomeone, db: Database
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    browser = await new_browser(mina)
    await browser.sign_in(mina.email)
    async with db.reading() as session:
        open_sessions = (await session.scalars(select(WebSession.id).where(WebSession.revoked_at.is_(None)))).all()
    assert len(open_sessions) == 1


async def test_an_operators_link_works_like_any_other(
    db: Database, add_someone: AddSomeone, clock: ManualClock
) -> None:
    mina = await add_someone("Mina", Role.CLIENT)
    async with db.transaction() as session:
        token = await accounts.issue_link(session, mina.actor.person_id, LinkPurpose.SIGN_UP, now=clock())
    assert (await accounts.consume_link(db, token, now=clock())).person_id == mina.actor.person_id
