"""
A process of its own: a project's description on standard input, safe HTML on standard output.

The renderers are native code and large Python: a description of 100 KB can keep them busy for minutes and ask for
gigabytes while they hold the interpreter lock. Here that costs this process its life, and the server nothing.
"""

from __future__ import annotations

import resource
import sys
from html import escape
from html.parser import HTMLParser

#: Seconds of processor time, bytes of address space, and bytes of output that one description may take.
CPU_SECONDS = 6
MEMORY = 256 * 1024**2
MAX_OUTPUT = 2 * 1024**2

_EMPTY_ELEMENTS = frozenset({"br", "col", "hr", "input"})
_LINK_SCHEMES = ("http://", "https://", "mailto:", "#")


class _Narrowed(HTMLParser):
    """
    Rewrites cleaned HTML so that it asks for nothing from elsewhere and its links lead where they say.

    The renderer has removed what is dangerous; this removes what is not ours to show: pictures become their words,
    since a page loads nothing from other servers, and links that would point into this server become text.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._links: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "img":
            self._picture(values)
            return
        if tag == "a":
            href = values.pop("href", "")
            values.pop("rel", None)
            linked = href.lower().startswith(_LINK_SCHEMES)
            self._links.append(linked)
            if not linked:
                return
            values = {"href": href, "rel": "nofollow noopener", **values}
        self.parts.append(f"<{tag}{''.join(f' {name}={_quoted(value)}' for name, value in values.items())}>")

    def handle_endtag(self, tag: str) -> None:
        if tag in _EMPTY_ELEMENTS or (tag == "a" and not (self._links and self._links.pop())):
            return
        self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.parts.append(escape(data, quote=False))

    def _picture(self, values: dict[str, str]) -> None:
        source, words = values.get("src", ""), values.get("alt", "").strip() or "picture"
        if source.lower().startswith(("http://", "https://")) and not any(self._links):
            link = f"<a href={_quoted(source)} rel={_quoted('nofollow noopener')}>{escape(words)}</a>"
            self.parts.append(f'<span class="picture">{link}</span>')
        else:
            self.parts.append(f'<span class="picture">{escape(words)}</span>')


def _quoted(value: str) -> str:
    return f'"{escape(value)}"'


def narrow(html: str) -> str:
    """
    @param html: as a renderer cleaned it.
    @return: the same without pictures, and with links to http, https, mailto and the page itself alone.
    """
    parser = _Narrowed()
    parser.feed(html)
    parser.close()
    return "".join(parser.parts)


def render(markup: str, text: str) -> str | None:
    """
    @param markup: C{rst}, or the name of a Markdown variant: C{GFM}, C{CommonMark}.
    @return: safe HTML, or None where C{text} is not valid in that markup.
    """
    # Imported here: parent and tests read this module's limits without the renderers' weight.
    from readme_renderer import markdown, rst

    html = rst.render(text) if markup == "rst" else markdown.render(text, variant=markup)
    return narrow(html) if html and len(html) <= MAX_OUTPUT else None


def main() -> None:
    """Render standard input as the first argument says; no output where that cannot be done."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    html = render(sys.argv[1], sys.stdin.buffer.read().decode())
    output = (html or "").encode()
    if len(output) <= MAX_OUTPUT:
        sys.stdout.buffer.write(output)


if __name__ == "__main__":
    main()
