"""The language in which words are written now, and gettext over it: `t`, `tn` for Python, look-ups for templates.

    requests.py, worker.py ─▶ speak / speaking ─▶ t("%(name)s has written", name=…) in control and web, _() in templates

English stands in the sources and needs no catalog. The others are in locale/<language>/LC_MESSAGES/holdspace.po, read
once (`load`): a look-up is a read of a dict. Placeholders are %(name)s everywhere, in Python, templates and JavaScript,
and "%%" is a percent sign.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

ENGLISH = "en-GB"
LANGUAGES = {ENGLISH: "English", "de": "Deutsch"}
"""BCP 47 and its own name. Which of them a practice offers is `practice.languages`."""
DOMAIN = "holdspace"
CATALOGS = Path(__file__).parent / "locale"

_now: ContextVar[str] = ContextVar("language", default=ENGLISH)


def catalog_path(language: str) -> Path:
    return CATALOGS / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def read_catalog(language: str) -> Catalog:
    with catalog_path(language).open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


@lru_cache(maxsize=len(LANGUAGES))
def load(language: str) -> NullTranslations:
    """About half a second for a whole catalog, once: the composer calls it for what is offered before it serves."""
    if language == ENGLISH:
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, read_catalog(language))  # leaves fuzzy entries out
    compiled.seek(0)
    return Translations(compiled, DOMAIN)


# -- which one ---------------------------------------------------------------------------------------------------


def spoken() -> str:
    return _now.get()


def locale() -> Locale:
    """Babel's names of days, months and currencies. English abbreviates September to three letters, as the rest."""
    return _locale("en" if spoken() == ENGLISH else spoken())


@lru_cache(maxsize=len(LANGUAGES))
def _locale(language: str) -> Locale:
    return Locale.parse(language, sep="-")


def speak(language: str) -> None:
    """From here on, in this task and what it starts."""
    _now.set(language)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """For the words to one reader, whoever caused them."""
    token = _now.set(language)
    try:
        yield
    finally:
        _now.reset(token)


def choose(offered: Sequence[str], *wishes: str | None, accepts: str = "") -> str:
    """The first wish that is offered, else the browser's (Accept-Language, RFC 4647 §3.4), else the first offered."""
    if len(offered) == 1:
        return offered[0]
    for wish in wishes:
        if wish is not None and wish in offered:
            return wish
    for wanted in _by_weight(accepts):
        for language in offered:
            if language.split("-")[0].lower() == wanted.split("-")[0].lower():
                return language
    return offered[0]


def _by_weight(accepts_untrusted: str) -> list[str]:
    """Languages of the header, most wanted first; what can't be read is left out."""
    found: list[tuple[float, str]] = []
    for part in accepts_untrusted[:500].split(","):
        name, _, weight = part.partition(";q=")
        try:
            found.append((float(weight) if weight else 1.0, name.strip()))
        except ValueError:
            continue
    return [name for weight, name in sorted(found, key=lambda one: -one[0]) if weight > 0]


# -- words -------------------------------------------------------------------------------------------------------


def look_up(message: str) -> str:
    """Its translation with its placeholders still in it; templates fill them in, escaped."""
    return load(spoken()).ugettext(message) if message else ""


def look_up_plural(one: str, many: str, number: int) -> str:
    return load(spoken()).ungettext(one, many, number)


def t(message: str, /, **values: object) -> str:
    return look_up(message) % values


def tn(one: str, many: str, number: int, /, **values: object) -> str:
    """By number, which is also %(num)s."""
    return look_up_plural(one, many, number) % {"num": number, **values}


def N_(message: str) -> str:  # gettext's own name for it
    """Marks a sentence that is looked up later, where the language is known."""
    return message
