"""Descriptions of releases: rendered, made safe, and kept from taking the server down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import gatherResults
from twisted.python.threadpool import ThreadPool

from cheddar.model import CoreMetadata
from cheddar.web.descriptions import MAX_DESCRIPTION, REMEMBERED, Descriptions, description_text, markup_of
from cheddar.web.pages import Pages
from tests.support.page_reader import Read, assert_harmless
from tests.web.test_pages import HOSTILE, HOSTILE_ADDRESSES

MARKDOWN = "text/markdown; charset=UTF-8; variant=GFM"
RST = "text/x-rst"


def metadata(description: str, content_type: str | None = MARKDOWN) -> CoreMetadata:
    fields: dict[str, str | list[str] | dict[str, str]] = {"description": description}
    if content_type is not None:
        fields["description_content_type"] = content_type
    return CoreMetadata("cellar", "1.0", None, "", fields, b"")


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    pool = ThreadPool(0, 4)
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture
def descriptions(reactor: Any, pool: ThreadPool) -> Descriptions:
    return Descriptions(reactor, pool)


async def test_markdown_becomes_html(descriptions: Descriptions) -> None:
    """Markdown with tables and code comes out as HTML."""
    html = await descriptions.render(metadata("# Hi\n\n| a |\n|---|\n| *b* |\n\n```python\ndef f(): pass\n```\n"))
    assert html is not None
    assert [tag for tag, _ in Read(html.encode()).elements if tag in {"h1", "table", "em", "pre"}] == [
        "h1",
        "table",
        "em",
        "pre",
    ]
    assert '<span class="k">def</span>' in html


async def test_restructuredtext_becomes_html(descriptions: Descriptions) -> None:
    """reStructuredText does too, stated or, where nothing is stated, by being valid."""
    for content_type in (RST, None, "UNKNOWN"):
        html = await descriptions.render(metadata("Hi\n==\n\n*there*\n", content_type))
        assert html is not None
        assert "<em>there</em>" in html


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        ("plain *text*", "text/plain"),
        ("<b>x</b>", "text/html"),
        ("x", "nonsense\x00/\n"),
        ("Title\n=\n\n:unknown:`x`", RST),
        (".. include:: /etc/passwd\n", RST),
        (".. raw:: html\n\n   <script>alert(1)</script>\n", RST),
        ("UNKNOWN", MARKDOWN),
        ("", MARKDOWN),
        ("x" * (MAX_DESCRIPTION + 1), MARKDOWN),
        ("é" * (MAX_DESCRIPTION // 2 + 1), MARKDOWN),
    ],
)
async def test_what_cannot_be_rendered_is_left_as_text(
    descriptions: Descriptions, text: str, content_type: str
) -> None:
    """Plain text, unknown types, invalid or forbidden markup and long texts give no HTML, and no error."""
    assert await descriptions.render(metadata(text, content_type)) is None


@pytest.mark.deadline(90)
async def test_hostile_descriptions_are_harmless(descriptions: Descriptions, reactor: Any, pool: ThreadPool) -> None:
    """Scripts, event attributes and script addresses in a description never reach the page."""
    pages = Pages("http://localhost/", True, reactor, pool)
    markdown = [*HOSTILE]
    rst = []
    for address in HOSTILE_ADDRESSES:
        markdown += [f"[x]({address})", f"[x](<{address}>)", f"![x]({address})", f'<a href="{address}">x</a>']
        rst += [f"`x <{address}>`__", f".. image:: {address.strip()}\n   :target: {address.strip()}"]
    markdown += [
        '<form action="https://evil.example/"><input name="password" type="password"><button>Login</button></form>',
        '<iframe src="https://evil.example/"></iframe><style>body{display:none}</style>',
        '<p style="position:fixed">x</p><base href="https://evil.example/"><meta http-equiv="refresh" content="0">',
        "<svg><a xlink:href='javascript:alert(1)'>x</a></svg><math><mtext><style><img src=x onerror=alert(1)>",
    ]
    for text, content_type in (("\n\n".join(markdown), MARKDOWN), ("\n\n".join(markdown), "text/markdown")):
        html = await descriptions.render(metadata(text, content_type))
        assert html is not None
        assert_harmless(pages.release("cellar", "1.0", (), None, html, ""))
        tags = {tag for tag, _ in Read(html.encode()).elements}
        assert not tags & {"form", "button", "img", "iframe"}
    for text in rst:
        html = await descriptions.render(metadata(text, RST))
        assert_harmless(pages.release("cellar", "1.0", (), None, html, ""))


async def test_pictures_become_their_words(descriptions: Descriptions) -> None:
    """A page loads nothing from elsewhere: a picture is shown as its words, linked to where it is."""
    html = await descriptions.render(
        metadata(
            "![Graph](https://a.example/g.svg) [![Build](https://a.example/b.svg)](https://ci.example/) ![](x.png)"
        )
    )
    assert html is not None
    read = Read(html.encode())
    assert "img" not in dict(read.elements)
    assert read.links() == ["https://a.example/g.svg", "https://ci.example/"]
    assert read.text.split() == ["Graph", "Build", "picture"]


async def test_links_lead_out_or_to_the_page_itself(descriptions: Descriptions) -> None:
    """A relative link, which would lead into this server, is text; the others carry rel="nofollow noopener"."""
    html = await descriptions.render(
        metadata("# Top\n\n[a](docs/a.md) [b](/local/x) [c](//x.example/) [d](#top) [e](https://x.example/?a=1&b=%22)")
    )
    assert html is not None
    read = Read(html.encode())
    assert read.links() == ["#user-content-top", "#user-content-top", "https://x.example/?a=1&b=%22"]
    assert {attrs["rel"] for tag, attrs in read.elements if tag == "a"} == {"nofollow noopener"}
    assert "a b c d e" in read.text


async def test_text_that_looks_like_html_stays_text(descriptions: Descriptions) -> None:
    """Code about HTML is shown, not obeyed."""
    html = await descriptions.render(metadata("`<script>alert('&lt;')</script>` & \"x\" \\<b>"))
    assert html is not None
    assert Read(html.encode()).text.strip() == "<script>alert('&lt;')</script> & \"x\" <b>"
    assert_harmless(html.encode())


@pytest.mark.deadline(60)
@pytest.mark.parametrize(
    "text",
    [
        # Cells that rows leave out are filled in: 110 KB of text would become a gigabyte of table.
        "|a" * 2000 + "\n" + "|-" * 2000 + "\n" + "a\n" * 50_000,
        '<pre lang="x"><code>' * 10_000,
    ],
    ids=["table", "nesting"],
)
async def test_monstrous_description_does_not_stop_the_server(
    descriptions: Descriptions, reactor: Any, text: str
) -> None:
    """While a description that takes minutes or gigabytes is tried and given up, the server answers at once."""
    from twisted.internet.task import LoopingCall

    late: list[float] = []
    last = reactor.seconds()

    def tick() -> None:
        nonlocal last
        late.append(reactor.seconds() - last)
        last = reactor.seconds()

    ticking = LoopingCall(tick)
    done = ticking.start(0.05)
    try:
        assert await descriptions.render(metadata(text)) is None
    finally:
        ticking.stop()
        await done
    assert max(late) < 8.0, "it would be the ten seconds of MAX_SECONDS"
    html = await descriptions.render(metadata("*fine*"))
    assert html is not None


async def test_one_description_does_not_change_another(descriptions: Descriptions) -> None:
    """What one description defines (a role, in reStructuredText) is unknown to the next."""
    assert await descriptions.render(metadata(".. role:: shout\n\n:shout:`x`", RST)) is not None
    assert await descriptions.render(metadata("hello :shout:`x`", RST)) is None


@pytest.mark.deadline(90)
async def test_rendered_descriptions_are_remembered(reactor: Any, pool: ThreadPool) -> None:
    """A description is rendered once, for all who ask at the same time and for those who come later."""
    descriptions = Descriptions(reactor, pool)
    first, second = await gatherResults([descriptions.render(metadata("*x*")) for _ in range(2)])
    assert first == second == "<p><em>x</em></p>\n"
    again = await descriptions.render(metadata("*x*"))
    assert again is first is second
    # Another markup is another description; and what is remembered has an end.
    assert await descriptions.render(metadata("*x*", "text/plain")) is None
    for number in range(REMEMBERED):
        await descriptions.render(metadata(f"*{number}*"))
    renewed = await descriptions.render(metadata("*x*"))
    assert renewed == first
    assert renewed is not first


async def test_renderer_gets_no_secrets(reactor: Any, pool: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that renders starts without the server's environment: one that would break it does not."""
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    assert await Descriptions(reactor, pool).render(metadata("*x*")) == "<p><em>x</em></p>\n"


@pytest.mark.parametrize(
    ("stated", "markup"),
    [
        (None, "rst"),
        ("text/x-rst", "rst"),
        ("text/x-rst; charset=UTF-8", "rst"),
        ("text/markdown", "GFM"),
        ("Text/Markdown; variant=CommonMark", "CommonMark"),
        ("text/markdown; variant=unheard-of", "GFM"),
        ("text/plain", None),
        ("application/pdf", None),
    ],
)
def test_content_type_decides_the_markup(stated: str | None, markup: str | None) -> None:
    """The markup is what Description-Content-Type says, with the specification's defaults."""
    assert markup_of(metadata("x", stated)) == markup


def test_old_header_is_unindented() -> None:
    """A description from the time when it was a header loses the header's indentation, and no other."""
    assert (
        description_text(metadata("One\n        Two\n\n            code\n        Three"))
        == "One\nTwo\n\n    code\nThree"
    )
    assert description_text(metadata("One\n       |Two\n       |")) == "One\nTwo\n"
    assert description_text(metadata("One\n        code\nTwo")) == "One\n        code\nTwo"
    assert description_text(metadata("One")) == "One"
    assert description_text(metadata("One\n\n")) == "One\n\n"
