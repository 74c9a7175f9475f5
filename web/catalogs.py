"""`make messages`: finds every marked sentence and brings the catalogs of control/locale up to date with them.

Marked is what stands in _() and ngettext() in templates, in t(), tn() and N_() in Python, in t() and tn() in scripts,
the sentence of every Problem raised (control/errors.py), which is looked up where it is answered, and that of every
setting (control/config.py). What is new comes in untranslated, what is gone goes out; nothing is guessed.
"""

from __future__ import annotations

import re
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po

from control.config_reading import keys
from control.language import DOMAIN, ENGLISH, LANGUAGES, catalog_path, read_catalog

ROOT = Path(__file__).parent.parent
_METHODS = [("web/templates/**.html", "jinja2"), ("web/static/js/**.js", "javascript"), ("**.py", "python")]
_OPTIONS = {
    "web/templates/**.html": {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"},
    "web/static/js/**.js": {"jsx": "false"},
}
_PROBLEMS = ("Malformed", "Forbidden", "NotFound", "NotSignedIn", "Conflict", "Invalid", "TooMany", "Unavailable")
_KEYWORDS = {"_": None, "t": None, "N_": None, "ngettext": (1, 2), "tn": (1, 2), **dict.fromkeys(_PROBLEMS, (2,))}
_WORDS = re.compile("[A-Za-z]")
_WIDTH = 120


def extract() -> Catalog:
    """All marked sentences, each with the files it stands in."""
    catalog = Catalog(domain=DOMAIN, project="holdspace", fuzzy=False)
    for package in ("control", "web"):
        found = extract_from_dir(
            ROOT / package,
            method_map=[(_within(package, pattern), method) for pattern, method in _METHODS],
            options_map={_within(package, pattern): options for pattern, options in _OPTIONS.items()},
            keywords=_KEYWORDS,
            directory_filter=lambda folder: Path(folder).name not in {"migrations", "node_modules", "blur"},
        )
        for file, line, message, comments, context in sorted(found, key=lambda one: (one[0], one[1])):
            if not _WORDS.search(message if isinstance(message, str) else message[0]):
                continue  # the " " of a " ".join(…) that is handed to a Problem
            catalog.add(message, None, [(f"{package}/{file}", line)], auto_comments=comments, context=context)
    for key in keys():
        catalog.add(key.sentence, None, [("control/config.py", 0)])
    return catalog


def _within(package: str, pattern: str) -> str:
    return pattern.removeprefix(f"{package}/")


def _empty(language: str) -> Catalog:
    header = f"# Holdspace in {LANGUAGES[language]}. New sentences come in by `make messages`."
    return Catalog(locale=language, domain=DOMAIN, project="holdspace", header_comment=header, fuzzy=False)


def update(language: str) -> Catalog:
    catalog = read_catalog(language) if catalog_path(language).exists() else _empty(language)
    made_at = catalog.creation_date
    catalog.update(extract(), no_fuzzy_matching=True, update_header_comment=False)
    catalog.creation_date = made_at  # so that nothing changes where no sentence did
    catalog.obsolete.clear()
    catalog.fuzzy = False
    return catalog


def untranslated(catalog: Catalog) -> list[str]:
    return [str(one.id) for one in catalog if one.id and (one.fuzzy or not all(_strings(one)))]


def _strings(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ("",))


def main() -> None:
    for language in LANGUAGES:
        if language == ENGLISH:
            continue
        catalog = update(language)
        catalog_path(language).parent.mkdir(parents=True, exist_ok=True)
        with catalog_path(language).open("wb") as file:
            write_po(file, catalog, width=_WIDTH, include_lineno=False, sort_by_file=True, ignore_obsolete=True)
        missing = len(untranslated(catalog))
        print(f"{language}: {len(catalog)} sentences, {missing} not translated yet")


if __name__ == "__main__":
    main()
