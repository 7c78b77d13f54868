"""bandersnatch, which copies an index into a folder that any web server can serve."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from tests.support.clients import output, run
from tests.support.distributions import make_sdist, make_wheel, sha256
from tests.support.server import CheddarProcess, ask, basic, upload_form

REASON = 'bröken <b>"3.13"</b> & worse'
ASKED = re.compile(r'"GET (\S+) HTTP/1.1" 200 ')


@define
class Mirror:
    """A folder, and what bandersnatch is told to fill it from."""

    folder: Path
    cheddar: CheddarProcess

    def sync(self) -> list[str]:
        """Bring the folder up to date. @return: the paths that bandersnatch got from Cheddar, without the query."""
        configuration = self.folder.with_suffix(".conf")
        configuration.write_text(
            f"[mirror]\ndirectory = {self.folder}\nmaster = {self.cheddar.url.rstrip('/')}\nallow-non-https = true\n"
            "api-method = simple\nsimple-format = ALL\njson = true\nworkers = 2\nstop-on-error = true\n"
        )
        read = len(self.cheddar.noted())
        done = run("bandersnatch", "-c", str(configuration), "mirror", home=self.folder.with_suffix(".home"))
        assert done.returncode == 0, output(done)
        assert "ERROR" not in output(done), output(done)
        return ASKED.findall(self.cheddar.noted()[read:])

    def files(self) -> dict[str, bytes]:
        """Every distribution file in the folder, by its name."""
        packages = self.folder / "web" / "packages"
        return {path.name: path.read_bytes() for path in packages.rglob("*") if path.is_file()}

    def page(self, project: str) -> Any:
        """The mirror's own page of a project: each file's entry, by the file's name."""
        path = self.folder / "web" / "simple" / project / "index.v1_json"
        return {entry["filename"]: entry for entry in json.loads(path.read_text())["files"]}

    def projects(self) -> set[str]:
        """The projects on the mirror's own list."""
        page = json.loads((self.folder / "web" / "simple" / "index.v1_json").read_text())
        return {project["name"] for project in page["projects"]}


@pytest.fixture
def mirror(cheddar: CheddarProcess, tmp_path: Path) -> Mirror:
    """An empty one."""
    return Mirror(tmp_path / "mirror", cheddar)


def publish(cheddar: CheddarProcess, filename: str, content: bytes) -> dict[str, bytes]:
    """Upload a file. @return: its content by its name."""
    body, content_type = upload_form(filename, content)
    answer = ask(cheddar.port, "POST", "/pypi/", body, {"Content-Type": content_type, "Authorization": basic()})
    assert answer.status == 200, answer
    return {filename: content}


def change(cheddar: CheddarProcess, method: str, path: str, body: bytes = b"") -> None:
    """Yank or remove something."""
    answer = ask(cheddar.port, method, path, body, {"Authorization": basic(), "Content-Type": "text/plain"})
    assert answer.status == 200, answer


def publish_projects(cheddar: CheddarProcess) -> dict[str, bytes]:
    """Some of everything; one release is yanked."""
    published: dict[str, bytes] = {}
    for filename, content in (
        make_wheel("Odd.Name_x", "1.0", requires_python=">=3.8,<5"),
        make_sdist("Odd.Name_x", "1.0"),
        make_sdist("plain", "0.1"),
        make_wheel("plain", "0.2rc1"),
        make_wheel("plain", "1!3.0+cpu.1", requires=("Odd.Name-X",)),
        make_sdist("UPPER", "2.0.post1.dev2"),
        make_wheel("large", "1.0", size=3_000_000),
    ):
        published |= publish(cheddar, filename, content)
    change(cheddar, "PUT", "/simple/plain/0.1/yanked", REASON.encode())
    return published


@pytest.mark.client("mirrors the local projects, and installers take the mirror", "bandersnatch")
def test_the_mirror_has_what_was_published(cheddar: CheddarProcess, mirror: Mirror, tmp_path: Path) -> None:
    """
    Every file of every local project arrives with its bytes, its digest and its yank; pip installs from the copy.
    Upstream's projects have no serial of Cheddar's: a mirror takes them from upstream itself, or not at all.
    """
    published = publish_projects(cheddar)
    assert ask(cheddar.port, "GET", "/simple/leaf/").status == 200, "upstream's, and now on the list"
    mirror.sync()
    assert mirror.files() == published
    assert mirror.projects() == {"odd-name-x", "plain", "upper", "large"}
    pages = {name: mirror.page(name) for name in mirror.projects()}
    listed = {filename: entry["hashes"]["sha256"] for page in pages.values() for filename, entry in page.items()}
    assert listed == {filename: sha256(content) for filename, content in published.items()}
    assert pages["odd-name-x"]["odd_name_x-1.0-py3-none-any.whl"]["requires-python"] == ">=3.8,<5"
    assert [name for name, entry in pages["plain"].items() if entry["yanked"]] == ["plain-0.1.tar.gz"]
    html = (mirror.folder / "web" / "simple" / "plain" / "index.html").read_text()
    assert 'data-yanked="bröken &lt;b&gt;&quot;3.13&quot;&lt;/b&gt; &amp; worse"' in html
    cheddar.stop()
    done = run(
        "pip", "--isolated", "install", "--no-cache-dir", "--index-url", f"file://{mirror.folder}/web/simple/",
        "--target", str(tmp_path / "lib"), "plain", home=tmp_path / "home",
    )  # fmt: skip
    assert done.returncode == 0, output(done)
    installed = {path.name for path in (tmp_path / "lib").glob("*.dist-info")}
    assert installed == {"plain-1!3.0+cpu.1.dist-info", "odd_name_x-1.0.dist-info"}


@pytest.mark.client("mirrors again only what has changed", "bandersnatch")
def test_only_what_has_changed_is_asked_for_again(cheddar: CheddarProcess, mirror: Mirror) -> None:
    """The next run asks for nothing but the list; after an upload, a yank or a removal for that project alone."""
    published = publish_projects(cheddar)

    def fetched() -> tuple[set[str], set[str]]:
        """The documents and the files that a run asks for."""
        asked = mirror.sync()
        assert "/simple/" in asked
        documents = {path for path in asked if path.startswith("/pypi/")}
        files = {path.rpartition("/")[2] for path in asked if path.startswith("/packages/")}
        assert len(asked) == 1 + len(documents) + len(files), asked
        return documents, files

    documents, files = fetched()
    assert documents == {f"/pypi/{name}/json" for name in ("odd-name-x", "plain", "upper", "large")}
    assert len(files) == len(published)
    assert fetched() == (set(), set())

    published |= publish(cheddar, *make_wheel("UPPER", "2.1"))
    assert fetched() == ({"/pypi/upper/json"}, {"upper-2.1-py3-none-any.whl"})
    assert mirror.files() == published

    change(cheddar, "PUT", "/simple/upper/2.1/yanked", b"too new")
    assert fetched() == ({"/pypi/upper/json"}, set())
    assert mirror.page("upper")["upper-2.1-py3-none-any.whl"]["yanked"]
    change(cheddar, "DELETE", "/simple/upper/2.1/yanked")
    assert fetched() == ({"/pypi/upper/json"}, set())
    assert not mirror.page("upper")["upper-2.1-py3-none-any.whl"]["yanked"]

    change(cheddar, "DELETE", "/simple/upper/2.1/upper-2.1-py3-none-any.whl")
    assert fetched() == ({"/pypi/upper/json"}, set())
    assert list(mirror.page("upper")) == ["upper-2.0.post1.dev2.tar.gz"]
    assert mirror.files() == published, "bandersnatch leaves the bytes of what is gone where they are"
