"""The pages for people in a real browser: what it shows, what it refuses, how it lays out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timezone
from functools import partial
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from cheddar.model import CoreMetadata, File, Project, Release
from cheddar.web.pages import CONTENT_SECURITY_POLICY, Pages

NOW = datetime(2026, 11, 20, 14, 3, tzinfo=timezone.utc)
SUMMARY = 'Keeps <cheese> cool & "quiet"'
LONG = "a-project-whose-name-is-rather-too-long-for-the-width-of-a-telephone-in-one-line"
DESCRIPTION = """# Cellar

![Build](https://pictures.example/badge.svg) <script>document.title = "owned"</script>

```python
def store(cheese: str, shelf: int = 3) -> None: ...  # a line of code that is wider than any telephone is, on purpose
```

| Version | Supported | Notes | More | Even more | And more |
|---|---|---|---|---|---|
| 1.0 | yes | averyveryverylongwordwithoutanyplacetobreak | x | y | z |
"""
REFUSED = "Content Security Policy"


@define(eq=False)
class Browser:
    """Chromium without a window, that reaches loopback and nothing else."""

    path: str
    directory: Path
    reactor: Any
    pool: ThreadPool

    async def open(self, address: str, *options: str) -> tuple[str, str]:
        """@return: the document as the browser has it when all is loaded, and what it logged."""
        command = [
            *("timeout", "60", self.path, "--headless", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--disable-dev-shm-usage", "--no-proxy-server"),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            *(f"--user-data-dir={self.directory}", "--window-size=1280,900", "--enable-logging=stderr"),
            *(*options, "--dump-dom", address),
        ]
        run = partial(subprocess.run, capture_output=True, text=True, env={**os.environ, "HOME": str(self.directory)})
        done = await deferToThreadPool(self.reactor, self.pool, run, command)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr


@define(eq=False)
class Served(Resource):
    """Pages with the headers they come with, and, for a test's own measuring, a script beside them."""

    pages: Pages
    documents: Mapping[str, bytes]
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Answer a page, one with something injected, or a static file."""
        path = request.path.decode()
        policy = CONTENT_SECURITY_POLICY
        if path.startswith("/telephone/"):
            framed = path.removeprefix("/telephone")
            frame = f'<iframe src="{framed}?framed=1" width="390" height="844"></iframe>'
            body = f"<!doctype html><body>{frame}</body>".encode()
            content_type = "text/html; charset=utf-8"
        elif path.startswith("/static/"):
            body, content_type = self.pages.static(path.removeprefix("/static/")) or (b"", "text/plain")
        else:
            body, content_type = self.documents.get(path, b""), "text/html; charset=utf-8"
        if b"framed" in request.args:
            policy = policy.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
        if b"inject" in request.args:
            body = body.replace(b"</body>", request.args[b"inject"][0] + b"</body>")
        if b"measure" in request.args:
            policy += "; script-src 'nonce-measure'; frame-src 'self'"
            script = request.args[b"measure"][0]
            body = body.replace(b"</body>", b"<script nonce=measure>" + script + b"</script></body>")
        request.setHeader("Content-Type", content_type)
        request.setHeader("Content-Security-Policy", policy)
        return body


@define(eq=False)
class Visit:
    """A browser before a served set of pages."""

    browser: Browser
    root: str

    async def see(self, path: str, **query: str) -> tuple[str, str]:
        """@return: the document, and the log."""
        return await self.browser.open(self._address(path, query))

    async def measure(self, path: str, expression: str, *options: str) -> Any:
        """@return: the value of a script's expression on a page."""
        script = f"addEventListener('load', () => document.body.dataset.measured = JSON.stringify({expression}))"
        document, _ = await self.browser.open(self._address(path, {"measure": script}), *options)
        found = re.search(r'data-measured="([^"]*)"', document)
        assert found, document
        return json.loads(unescape(found[1]))

    def _address(self, path: str, query: Mapping[str, str]) -> str:
        return f"{self.root}{path}" + (f"?{urlencode(query)}" if query else "")


async def documents(pages: Pages) -> dict[str, bytes]:
    """One of each page, at the address that it has."""
    files = tuple(
        File(name, "1.0", 123456, {"sha256": "ab12" * 16}, NOW, ">=3.10", "loses <cheese>")
        for name in ("cellar-1.0-py3-none-any.whl", "cellar-1.0.tar.gz", f"{LONG.replace('-', '_')}-1.0.whl")
    )
    metadata = CoreMetadata(
        "Cellar",
        "1.0",
        ">=3.10",
        SUMMARY,
        {
            "summary": SUMMARY,
            "home_page": "https://cellar.example/" + "x" * 80,
            "classifiers": ["Programming Language :: Python :: Implementation :: CPython"],
            "description": DESCRIPTION,
            "description_content_type": "text/markdown",
        },
        b"",
    )
    html = await pages.render_description(metadata)
    remote = tuple(File(file.filename, "1.0", url="https://files.example/x") for file in files)
    history = (Release("cellar", "1.0", NOW), Release(LONG, "1.0.post1+local.version.label", NOW))
    return {
        "/": pages.home(history, "cell", ("cellar", LONG), ""),
        "/project/cellar/": pages.project(Project("cellar", files, ("1.0",), status="archived"), True, "../../"),
        "/project/attic/": pages.project(Project("attic", remote, ("1.0",), index="remote"), False, "../../"),
        "/simple/cellar/1.0": pages.release("cellar", "1.0", files, metadata, html, "../../"),
        "/simple/cellar/2.0": pages.release("cellar", "2.0", files, metadata, None, "../../"),
        "/simple/cellar/9": pages.problem(404, "Not found", SUMMARY, "../../"),
    }


PATHS = ("/", "/project/cellar/", "/project/attic/", "/simple/cellar/1.0", "/simple/cellar/2.0", "/simple/cellar/9")


@pytest_twisted.async_yield_fixture
async def visit(reactor: Any, tmp_path: Path) -> AsyncIterator[Visit]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "there is no Chromium to show the pages to: install the package `chromium` (apt-get install chromium)"
    pool = ThreadPool(0, 4)
    pool.start()
    pages = Pages("http://cheddar.example:5000/", True, reactor, pool)
    site = Site(Served(pages, await documents(pages)))
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    browser = Browser(path, tmp_path / "browser", reactor, pool)
    yield Visit(browser, f"http://127.0.0.1:{port.getHost().port}")
    await port.stopListening()
    site.stopFactory()
    pool.stop()


@pytest.mark.deadline(120)
async def test_pages_show_in_a_browser_without_a_refusal(visit: Visit) -> None:
    """Every page shows its content in a browser, and asks for nothing that its own policy forbids."""
    shown = ("twine upload", "Archived.", "cellar-1.0.tar.gz", "<th>Supported</th>", "# Cellar", "Not found")
    for path, content in zip(PATHS, shown, strict=True):
        document, logged = await visit.see(path)
        assert content in document, path
        assert REFUSED not in logged
        assert "CONSOLE" not in logged
        assert "owned" not in document.partition("</title>")[0]
    document, _ = await visit.see("/simple/cellar/1.0")
    assert f'<p class="summary">{escape(SUMMARY, quote=False)}</p>' in document


@pytest.mark.deadline(120)
@pytest.mark.parametrize(
    "harm",
    [
        "<script>document.title='owned'</script>",
        "<img src=x onerror=\"document.title='owned'\">",
        "<style>body{display:none}</style>",
        "<img src='https://pictures.example/x.png'>",
        "<form action='https://evil.example/'></form><script src='/static/cheddar.css'></script>",
    ],
)
async def test_policy_stops_what_got_onto_a_page(visit: Visit, harm: str) -> None:
    """Should something harmful get onto a page after all, the browser refuses to run or load it, and says so."""
    document, logged = await visit.see("/simple/cellar/1.0", inject=harm)
    assert REFUSED in logged, logged
    assert "owned" not in document.partition("</title>")[0]


@pytest.mark.deadline(120)
async def test_pages_fit_a_telephone(visit: Visit) -> None:
    """At the width of a telephone no page has to be pushed sideways."""
    # A window has a least width that is more than a telephone's: a frame has none.
    widths = """(() => {
        const frame = document.querySelector('iframe').contentWindow;
        const page = frame.document.documentElement;
        frame.document.querySelectorAll('details').forEach(details => details.open = true);
        const beyond = page.scrollWidth - page.clientWidth;
        frame.document.querySelector('h1').style.width = '600px';
        return [frame.innerWidth, beyond, page.scrollWidth > 600];
    })()"""
    for path in PATHS:
        # The last value is the control: a thing that is too wide is seen.
        assert await visit.measure(f"/telephone{path}", widths) == [390, 0, True], path


@pytest.mark.deadline(120)
async def test_pages_follow_the_readers_light_or_dark(visit: Visit) -> None:
    """Who prefers dark gets dark pages, in both cases with text that contrasts well (WCAG 2, 4.5 to 1)."""
    # The ratio of contrast between an element's colour and the first background below it (WCAG 2.2).
    contrasts = """(() => {
        const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
        const light = colour => numbers(colour).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const below = element => {
            for (; element; element = element.parentElement) {
                const colour = getComputedStyle(element).backgroundColor;
                if (numbers(colour)[3] !== 0) return colour;
            }
            return 'rgb(255, 255, 255)';
        };
        const texts = [...document.querySelectorAll('body *')].filter(
            element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
        const ratios = texts.map(element => {
            const [a, b] = [light(getComputedStyle(element).color), light(below(element))].sort((x, y) => y - x);
            return [(a + 0.05) / (b + 0.05), element.outerHTML.slice(0, 80)];
        });
        return [light(getComputedStyle(document.body).backgroundColor), ratios.sort((x, y) => x[0] - y[0])[0]];
    })()"""
    for path in PATHS:
        for scheme, dark in ((0, True), (1, False)):
            paper, worst = await visit.measure(path, contrasts, f"--blink-settings=preferredColorScheme={scheme}")
            assert (paper < 0.1) is dark
            assert worst[0] >= 4.5, (path, dark, worst)
