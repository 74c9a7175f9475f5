"""Countries by their ISO 3166-1 code, as the time zone database names them."""

from importlib.resources import files


def _read() -> dict[str, str]:
    text = (files("tzdata.zoneinfo") / "iso3166.tab").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return dict(sorted(((row[0], row[1]) for row in rows), key=lambda pair: pair[1].casefold()))


COUNTRIES = _read()
"""Code → name, in the order of names."""
