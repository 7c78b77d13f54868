"""Pages of real projects, from the public index directly and through Cheddar, read by installers' own code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import Request, urlopen

import pytest

from cheddar.formats.filenames import version_of
from cheddar.model import normalize_version
from cheddar.settings import public_index
from tests.support.clients import OLD_PIPS, environment, output, run
from tests.support.distributions import sha256
from tests.support.server import JSON, CheddarProcess

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCRIPT = Path(__file__).parent / "scripts" / "read_with_pip.py"

#: What is odd about the pages of each.
PROJECTS = {
    "flask": "names with upper case, since 2010",
    "sampleproject": "a page with provenance",
    "python-dateutil": "sdists of a name with a dash; the oldest end in .tar.bz2 and .zip",
    "pytz": "versions that are no versions; hundreds of eggs",
    "pywin32": "wheels for Windows alone",
    "pip": "yanked files without a reason, and with one",
    "cryptography": "thousands of files; yanked ones of either kind",
    "zope-interface": "eggs, installers for Windows, hundreds of yanked files",
    "ruamel-yaml": "a name whose dot became a dash",
    "setuptools": "every kind of file that there was, .rpm too; hundreds of versions",
    "numpy": "one of the largest pages there are",
}

#: What uv resolves: pinned, and with yanked releases among it; the newest; and the newest of a day long past, which
#: it tells by the time at which each file was uploaded.
RESOLVED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pinned": (
        (
            "flask==3.0.0", "numpy==1.26.4", "pytz==2024.1", "zope-interface==6.3", "setuptools==69.0.3",
            "ruamel-yaml==0.18.6", "python-dateutil==2.9.0.post0", "pywin32==306", "cryptography==42.0.5",
            "sampleproject==4.0.0",
        ),
        (),
    ),
    "yanked": (
        (
            "flask==2.3.3", "numpy==2.2.0", "pytz==2023.3.post1", "cryptography==37.0.3", "setuptools==71.0.1",
            "pip==20.3.2", "attrs==21.1.0", "urllib3==2.0.0",
        ),
        (),
    ),
    "newest": (tuple(PROJECTS), ()),
    "newest-of-2023": (tuple(PROJECTS), ("--exclude-newer", "2024-01-01")),
}  # fmt: skip

Differences = dict[str, Any]


@contextmanager
def cheddar_of_now(data: Path) -> Iterator[str]:
    """A Cheddar with its defaults that has seen nothing yet. @return: the address of its Simple API."""
    server = CheddarProcess(data).start()
    try:
        yield f"{server.url}simple/"
    finally:
        server.stop()


def assert_the_same(tmp_path: Path, compare: Callable[[str], Differences]) -> None:
    """
    Somebody may upload something between two looks: what differs is looked at once more, through another Cheddar.

    @param compare: gets the address of Cheddar's Simple API; what it returns is to be empty.
    """
    differences: Differences = {}
    for attempt in (1, 2):
        with cheddar_of_now(tmp_path / f"data-{attempt}") as index:
            differences = compare(index)
        if not differences:
            return
    shown = [f"{place}: {what}" for place, what in list(differences.items())[:20]]
    raise AssertionError(f"{len(differences)} differences, of which the first:\n" + "\n".join(shown))


def compare_entries(
    project: str, direct: Mapping[str, dict[str, Any]], here: Mapping[str, dict[str, Any]], metadata: str = "metadata"
) -> Differences:
    """
    What is not the same about two lists of files.

    One difference is allowed: where the public index has no core metadata beside a wheel, Cheddar may have made it.

    @param metadata: the key of what is known of the core metadata.
    """
    differences: Differences = {}
    for filename in {*direct, *here}:
        one, other = dict(direct.get(filename, {})), dict(here.get(filename, {}))
        if one and other and not one.get(metadata) and filename.endswith(".whl"):
            one.pop(metadata, None)
            other.pop(metadata, None)
        if one != other:
            differences[f"{project} {filename}"] = one, other
    return differences


@pytest.mark.client("finds on a page of a real project what it finds directly")
@pytest.mark.parametrize(
    ("client", "options"),
    [("pip", ()), ("pip", ("--html",)), (list(OLD_PIPS)[-1], ("--html",))],
    ids=["json", "html", "old-html"],
)
def test_pip_reads_the_same(tmp_path: Path, client: str, options: tuple[str, ...]) -> None:
    """The same files with the same digests, yanks and bounds, judged alike, of the same versions."""

    def compare(index: str) -> Differences:
        projects = [argument for project in PROJECTS for argument in ("--project", project)]
        # The machine's own certificates, where it says them by a variable of pip's.
        environ = {"PIP_CERT": os.environ["PIP_CERT"]} if "PIP_CERT" in os.environ else {}
        done = run(
            client, str(SCRIPT), *options, *projects, public_index(), index,
            home=tmp_path / "home", program="python", environ=environ,
        )  # fmt: skip
        assert done.returncode == 0, output(done)
        pages = json.loads(done.stdout)
        assert list(pages) == list(PROJECTS)
        differences: Differences = {}
        for project, (direct, here) in pages.items():
            assert len(direct) > 10, f"a control: {project} has files"
            assert all(file["hashes"].get("sha256") for file in direct.values())
            differences |= compare_entries(project, direct, here)
        assert sum("version" in file for files, _ in pages.values() for file in files.values()) > 1000, "candidates"
        assert sum(file["yanked"] is not None for files, _ in pages.values() for file in files.values()) > 100
        assert options or all(file["upload-time"] for files, _ in pages.values() for file in files.values())
        return differences

    assert_the_same(tmp_path, compare)


@pytest.mark.client("resolves and locks real projects as it does directly", "uv")
def test_uv_reads_the_same(tmp_path: Path) -> None:
    """What uv writes into a lock file: the same versions, files, digests, sizes and times, and the same warnings."""
    homes = iter(range(100))

    def lock(index: str, name: str) -> tuple[dict[str, dict[str, Any]], list[str], set[str]]:
        """Each project with its files, what uv warned of, and the addresses of the files."""
        requirements, options = RESOLVED[name]
        home = tmp_path / f"home-{next(homes)}"
        home.mkdir()
        (home / "requirements.in").write_text("\n".join(requirements))
        done = run(
            "uv", "pip", "compile", "--no-cache", "--universal", "--no-deps", "--only-binary", ":all:", "--python",
            str(environment("uv") / "python"), "--python-version", "3.10", "--default-index", index, *options,
            "--format", "pylock.toml", "--output-file", "pylock.toml", "requirements.in", home=home,
        )  # fmt: skip
        assert done.returncode == 0, output(done)
        packages = tomllib.loads((home / "pylock.toml").read_text())["packages"]
        assert {package["name"] for package in packages} == {named.partition("==")[0] for named in requirements}
        locked: dict[str, dict[str, Any]] = {}
        addresses = set()
        for package in packages:
            files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
            addresses.update(file["url"] for file in files)
            named = {unquote(urlsplit(file["url"]).path).rpartition("/")[2]: without_address(file) for file in files}
            locked[f"{package['name']} {package['version']}"] = named
        warnings = sorted(line for line in done.stderr.splitlines() if line.startswith("warning"))
        return locked, warnings, addresses

    def compare(index: str) -> Differences:
        differences: Differences = {}
        for name in RESOLVED:
            direct, warnings, _ = lock(public_index(), name)
            here, warnings_here, addresses = lock(index, name)
            assert sum(map(len, direct.values())) > 50, "a control: there are files"
            assert all(
                {"upload-time", "size", "hashes"} <= {*file} for files in direct.values() for file in files.values()
            )
            assert len([line for line in warnings if "yanked" in line]) == (5 if name == "yanked" else 0), warnings
            assert {address.partition("/remote/files/")[0] + "/simple/" for address in addresses} == {index}
            if warnings != warnings_here:
                differences[f"warnings, {name}"] = warnings, warnings_here
            for project in {*direct, *here}:
                if direct.get(project) != here.get(project):
                    differences[f"{project}, {name}"] = direct.get(project), here.get(project)
        return differences

    assert_the_same(tmp_path, compare)


def without_address(file: Mapping[str, Any]) -> dict[str, Any]:
    """A file of a lock file, as far as it is the same wherever it comes from."""
    return {key: value for key, value in file.items() if key != "url"}


def page_of(index: str, project: str) -> Any:
    """A project's page in JSON."""
    with urlopen(Request(f"{index}{project}/", headers={"Accept": JSON}), timeout=60) as answer:
        assert answer.headers["Content-Type"] == JSON
        return json.load(answer)


def as_specified(entry: Mapping[str, Any]) -> dict[str, Any]:
    """
    What a file's entry says, in the one way in which the specification lets everybody say it: a key without a value may
    be left out, C{false} is what a key left out means for two of them, and the core metadata has had three names.
    Provenance, like the file, has an address of Cheddar's own.
    """
    said = {key: value for key, value in entry.items() if value is not None and key not in ("url", "provenance")}
    names = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
    metadata = [said.pop(name) for name in names if name in said]
    provenance = entry.get("provenance") is not None
    return {"yanked": False, **said, "core-metadata": metadata[0] if metadata else False, "provenance": provenance}


def test_nothing_of_a_page_is_lost(tmp_path: Path) -> None:
    """
    Key by key, also what no installer reads: provenance, status, versions.

    Cheddar writes versions in their normal form, adds those that only a file's name has (as 2.4.1.post1 of a release
    2.4.1), and leaves C{project-status} out for active projects.
    """

    def compare(index: str) -> Differences:
        differences: Differences = {}
        for project in PROJECTS:
            direct, here = page_of(public_index(), project), page_of(index, project)
            assert here["name"] == direct["name"] == project
            files = [{file["filename"]: as_specified(file) for file in page["files"]} for page in (direct, here)]
            differences |= compare_entries(project, files[0], files[1], "core-metadata")
            versions = [{normalize_version(version) for version in page["versions"]} for page in (direct, here)]
            named = {version_of(project, filename) for filename in files[0]}
            if versions[1] - named != versions[0] - named or not versions[0] <= versions[1]:
                differences[f"{project}'s versions"] = versions[0] ^ versions[1]
            active = {"status": "active"}
            statuses = [page.get("project-status", active) for page in (direct, here)]
            if statuses[0] != statuses[1]:
                differences[f"{project}'s status"] = statuses
        return differences

    assert_the_same(tmp_path, compare)


def test_the_bytes_are_the_same(tmp_path: Path) -> None:
    """A wheel and an sdist come through Cheddar as they come directly, and as their digest says."""
    with cheddar_of_now(tmp_path / "data") as index:
        for filename in ("sampleproject-4.0.0-py3-none-any.whl", "sampleproject-4.0.0.tar.gz"):
            contents = []
            for base in (public_index(), index):
                page = f"{base}sampleproject/"
                (file,) = (file for file in page_of(base, "sampleproject")["files"] if file["filename"] == filename)
                with urlopen(urljoin(page, file["url"]), timeout=60) as answer:
                    contents.append(answer.read())
                assert sha256(contents[-1]) == file["hashes"]["sha256"]
            assert contents[0] == contents[1]
            assert len(contents[0]) > 1000
