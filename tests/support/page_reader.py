"""Reads pages the way a parser does, and judges whether one could do harm."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlsplit


class Read(HTMLParser):
    """What a parser makes of a page: its elements, and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, *names: str) -> list[tuple[str, str]]:
        """The elements that have one of these attributes, with its value."""
        return [(tag, attrs[name]) for tag, attrs in self.elements for name in names if name in attrs]

    def links(self) -> list[str]:
        """Where links lead."""
        return [attrs["href"] for tag, attrs in self.elements if tag == "a"]


def assert_harmless(page: bytes) -> None:
    """Nothing on the page runs, is loaded from elsewhere, or leads to a script."""
    read = Read(page)
    for tag, attrs in read.elements:
        assert tag not in {"script", "style", "iframe", "object", "embed", "base", "svg", "math", "template"}
        assert not any(
            name.startswith("on") or name in {"style", "srcdoc", "formaction", "background"} for name in attrs
        )
        assert tag != "meta" or "http-equiv" not in attrs
    for tag, address in read.attributes("src", "href", "action", "srcset", "poster"):
        scheme = urlsplit(address.strip()).scheme.lower()
        if tag == "a":
            assert scheme in {"", "http", "https", "mailto"}, address
            assert not address.startswith("//"), address
        else:
            assert not scheme, address
            assert not urlsplit(address).netloc, address
