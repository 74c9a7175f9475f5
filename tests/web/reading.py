"""Reads a page as the tests look at it: elements, words, and what the strict CSP would refuse. No assertions."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.words: list[str] = []
        self._hidden = 0
        self.inline: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append(Element(tag, attributes))
        self._script = tag == "script"
        if tag == "style" or "style" in attributes:
            self.inline.append(f"<{tag} style>")
        self.inline += [f"<{tag} {name}>" for name in attributes if name.startswith("on")]
        self.inline += [f"<{tag} {name}=javascript:>" for name, value in attributes.items() if "javascript:" in value]

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(f"<script>{data[:30]}")
        self.words.append(data)


@dataclass
class Page:
    status: int
    html: str
    headers: Mapping[str, str]

    @cached_property
    def _read(self) -> _Reader:
        reader = _Reader()
        reader.feed(self.html)
        return reader

    @property
    def inline(self) -> list[str]:
        """Scripts and styles written into the page, which its policy would refuse."""
        return self._read.inline

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._read.words).split())

    def all(self, tag: str, **attributes: str) -> list[Element]:
        return [
            one
            for one in self._read.elements
            if one.tag == tag and all(one.attributes.get(name.replace("_", "-")) == v for name, v in attributes.items())
        ]

    @property
    def repeated_ids(self) -> list[str]:
        ids = [one.attributes["id"] for one in self._read.elements if "id" in one.attributes]
        return sorted({one for one in ids if ids.count(one) > 1})

    @property
    def links(self) -> set[str]:
        return {one.attributes["href"] for one in self.all("a") if "href" in one.attributes}

    @property
    def actions(self) -> set[str]:
        """Where the page's forms write to."""
        return {one.attributes["data-api"] for one in self.all("form") if "data-api" in one.attributes}
