"""Every marked sentence has its German, and who asks for German gets pages, refusals and letters in it."""

import re
from typing import Any

import pytest
from aiohttp import web
from babel.messages.catalog import Catalog, Message

from control.keys import SETTINGS
from control.language import choose, read_catalog, speaking
from control.notices.kinds import NoticeKind
from control.notices.texts import Reader, mail
from tests.helpers.practice import Site
from web import words
from web.catalogs import extract, untranslated
from web.script_words import words_url

_PLACEHOLDERS = re.compile(r"%\((\w+)\)s")
_TAGS = re.compile(r"<[^>]+>")
BOTH = ("en-GB", "de")


def _pairs(message: Message) -> list[tuple[str, str]]:
    if isinstance(message.id, str):
        return [(message.id, str(message.string))]
    return list(zip(message.id, message.string, strict=True))


@pytest.fixture(scope="module")
def german() -> Catalog:
    return read_catalog("de")


def test_the_catalog_holds_the_sentences_of_the_sources_and_no_others(german: Catalog) -> None:
    """Run `make messages` when this fails, and translate what it names."""
    assert {str(one.id) for one in german} == {str(one.id) for one in extract()}


def test_every_sentence_is_translated(german: Catalog) -> None:
    assert untranslated(german) == []


def test_translations_keep_placeholders_tags_and_outer_spaces(german: Catalog) -> None:
    wrong = [
        english
        for message in german
        if message.id
        for english, said in _pairs(message)
        if set(_PLACEHOLDERS.findall(english)) != set(_PLACEHOLDERS.findall(said))
        or _TAGS.findall(english) != _TAGS.findall(said)
        or "%" in _PLACEHOLDERS.sub("", said).replace("%%", "")
        or english.startswith(" ") != said.startswith(" ")
        or english.endswith(" ") != said.endswith(" ")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("wishes", "accepts", "spoken"),
    [
        (("de",), "", "de"),
        ((None, "de"), "en", "de"),
        (("fr", None), "fr, de-AT;q=0.8, en;q=0.5", "de"),
        ((None,), "en;q=0.3, de;q=0.9", "de"),
        ((None,), "de;q=0, fr", "en-GB"),
        ((None,), "\x00;;q=x, de;q=high", "en-GB"),
    ],
)
def test_the_language_is_the_first_wish_that_is_offered(
    wishes: tuple[str | None, ...], accepts: str, spoken: str
) -> None:
    assert choose(BOTH, *wishes, accepts=accepts) == spoken


def test_a_practice_that_offers_one_language_speaks_no_other() -> None:
    assert choose(("en-GB",), "de", accepts="de") == "en-GB"


def test_german_writes_money_as_germans_do() -> None:
    with speaking("de"):
        assert words.money(123_450, "EUR") == "1.234,50\xa0€"
        assert words.price(0, "EUR") == "Kostenlos"


@pytest.fixture
def offering_both(app: web.Application, monkeypatch: pytest.MonkeyPatch) -> None:
    practice: Any = app[SETTINGS].practice
    monkeypatch.setitem(practice.__dict__, "languages", BOTH)


@pytest.mark.usefixtures("offering_both")
async def test_a_visitor_is_answered_in_the_language_of_the_browser(site: Site) -> None:
    await site.hand_of(None)
    browser = site.opened[-1]
    page = await browser.get("/", headers={"Accept": "text/html", "Accept-Language": "de-DE,de;q=0.9"})
    assert '<html lang="de"' in page.text
    assert "Fachperson finden" in page.text
    scripts = await browser.get(words_url("de"))
    assert scripts.status == 200
    assert "Freie Zeiten werden gesucht" in scripts.text
    refused = await browser.get("/no-such-page", headers={"Accept": "text/html", "Accept-Language": "de"})
    assert "Hier ist nichts" in refused.text


@pytest.mark.usefixtures("offering_both")
async def test_what_somebody_chose_stays_with_them_on_every_device(site: Site) -> None:
    hand = await site.hand_of(site.world.bob)
    assert (await hand.post("/api/language", {"language": "de"}))[0] == 200
    await site.hand_of(site.world.bob)
    page = await site.opened[-1].get("/dashboard", headers={"Accept": "text/html", "Accept-Language": "en"})
    assert '<html lang="de"' in page.text
    await site.hand_of(site.world.charlie)
    other = await site.opened[-1].get("/dashboard", headers={"Accept": "text/html"})
    assert '<html lang="en-GB"' in other.text


async def test_a_language_that_is_not_offered_is_refused_and_nothing_changes(site: Site) -> None:
    hand = await site.hand_of(site.world.bob)
    assert (await hand.post("/api/language", {"language": "de"}))[0] == 422
    assert (await hand.get("/words/de.json"))[0] == 404
    assert (await hand.get("/api/account"))[1]["language"] == "en-GB"


def test_a_letter_is_written_in_the_language_that_is_spoken() -> None:
    reader = Reader("Mina", "Europe/Berlin", "Linden Row", "https://example.org")
    facts = {"from_name": "Amara", "path": "/messages/1"}
    with speaking("de"):
        written = mail(NoticeKind.NEW_MESSAGE, facts, None, reader)
    assert written.subject == "Sie haben eine neue Nachricht"
    assert "Guten Tag Mina" in written.text
    assert '<html lang="de">' in written.html
    assert mail(NoticeKind.NEW_MESSAGE, facts, None, reader).subject == "You have a new message"
