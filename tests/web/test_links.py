"""Addresses in what people wrote: http and https become links, everything else stays text."""

import pytest

from web.links import with_links


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no address", "no address"),
        ("<b>&", "&lt;b&gt;&amp;"),
        (
            "See https://example.org/a?b=1&c=2.",
            'See <a href="https://example.org/a?b=1&amp;c=2" target="_blank" rel="noopener noreferrer">'
            "https://example.org/a?b=1&amp;c=2</a>.",
        ),
        ("javascript:alert(1) ftp://a.b data:text/html,x", "javascript:alert(1) ftp://a.b data:text/html,x"),
        ("https:// http://[bad", "https:// http://[bad"),
    ],
)
def test_only_web_addresses_become_links(text: str, shown: str) -> None:
    assert str(with_links(text)) == shown


def test_address_cannot_break_out_of_its_attribute() -> None:
    assert "onmouseover" not in str(with_links('https://a.b/"onmouseover="x')).split(">")[0]
