"""The pages for people: model values in, UTF-8 HTML out. No request, no index, no store."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timezone
from hashlib import sha256
from importlib import resources
from ipaddress import ip_address
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from attrs import define, field, frozen
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from cheddar.deferreds import returns_deferred
from cheddar.formats.links import file_path
from cheddar.model import CoreMetadata, File, Project, Release, is_prerelease, sort_versions
from cheddar.names import is_project_name, normalize
from cheddar.web.descriptions import MAX_DESCRIPTION, Descriptions, description_text

#: What a page may load: its own style sheet and pictures; no script at all.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

#: How many releases, and how many files of them, a project's page shows; the Simple API has them all.
MOST_RELEASES = 300
MOST_FILES = 600

#: Files of a project whose page takes longer to render than other requests should wait.
_RENDER_ELSEWHERE_FROM = 50

_CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

_LINK = re.compile(r"\A(?:https?://|mailto:)[^\s\x00-\x1f\x7f\"<>\\]+\Z", re.IGNORECASE)

# What distutils and setuptools wrote for a field that was not given.
_UNKNOWN = "UNKNOWN"

# Some authors put the whole text of their licence into the field.
_LONGEST_LICENSE = 120


@frozen
class _Value:
    """One value of a fact: text, and the address it links to, or None."""

    text: str
    href: str | None = None


@frozen
class _Row:
    """
    A release as a project's page shows it.

    @ivar uploaded_at: when its first file was uploaded, or None where nobody says.
    @ivar yanked: C{all}, C{some} or C{none} of its files.
    """

    version: str
    prerelease: bool
    uploaded_at: datetime | None
    yanked: str
    reasons: tuple[str, ...]
    files: tuple[File, ...]


@define(eq=False)
class Pages:
    """
    Renders the pages for people.

    Every method takes C{root}: the relative way from the page's address to the root of the server (empty, C{../},
    C{../../}, ...), so that pages work below any path of a reverse proxy.

    @ivar _address: the server's address as users see it.
    @ivar _upstream_configured: whether there is a remote index.
    @ivar _offline: whether it has what it has, and asks for nothing more.
    """

    _address: str
    _upstream_configured: bool
    _reactor: IReactorFromThreads
    _pool: ThreadPool
    _offline: bool = False
    _static: Mapping[str, tuple[bytes, str]] = field(init=False)
    _templates: Mapping[str, Template] = field(init=False)
    _descriptions: Descriptions = field(init=False)

    def __attrs_post_init__(self) -> None:
        address = self._address.rstrip("/") + "/"
        self._static = _load_static()
        self._descriptions = Descriptions(self._reactor, self._pool)
        environment = Environment(
            loader=PackageLoader("cheddar.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.filters |= {"bytes": _size, "day": _day, "minute": _minute, "iso": _iso, "segment": _segment}
        environment.globals |= {
            "address": address,
            "upstream": self._upstream_configured,
            "offline": self._offline,
            "install": _install_lines(address),
            # A changed file has a changed address: no browser shows a new page in an old dress.
            "static": {
                name: f"static/{name}?v={sha256(body).hexdigest()[:12]}" for name, (body, _) in self._static.items()
            },
        }
        names = ("home", "project", "release", "problem")
        self._templates = {name: environment.get_template(f"{name}.html") for name in names}

    def static(self, name: str) -> tuple[bytes, str] | None:
        """@return: the content and the content type of a static file, or None."""
        return self._static.get(name)

    def home(
        self, history: tuple[Release, ...], query: str, found: tuple[str, ...] | None, root: str, owned: bool = False
    ) -> bytes:
        """
        The front page.

        @param query: what was searched for; empty where nothing was.
        @param found: the normalized names that a search found, or None where there was no search.
        @param owned: whether what was searched for is a name of the local index, so that upstream is not asked for it.
        """
        return self._render(
            "home",
            root,
            history=history,
            query=query,
            found=found,
            elsewhere=None if owned else self._elsewhere(query, found),
        )

    @returns_deferred
    async def long_project(self, project: Project, owned: bool, root: str) -> bytes:
        """As L{project}: it may have many files, and then others do not wait for it."""
        if len(project.files) < _RENDER_ELSEWHERE_FROM:
            return self.project(project, owned, root)
        return await deferToThreadPool(self._reactor, self._pool, self.project, project, owned, root)

    def project(self, project: Project, owned: bool, root: str) -> bytes:
        """
        A project's releases, newest first.

        @param owned: whether the name belongs to the local index, so that upstream is not asked for it.
        """
        rows = _rows(project)
        return self._render(
            "project",
            root,
            project=project,
            title=project.display_name or project.name,
            owned=owned,
            rows=rows,
            missing=len(_all_versions(project)) - len(rows),
            requirement=shlex.quote(project.name),
            path=lambda file: file_path(project.index, project.name, file),
        )

    def release(
        self,
        project: str,
        version: str,
        files: tuple[File, ...],
        metadata: CoreMetadata | None,
        description_html: str | None,
        root: str,
    ) -> bytes:
        """
        A release: its metadata, files and description.

        @param description_html: safe HTML as L{render_description} gives it; None: the description is shown as text.
        """
        text = description_text(metadata) if metadata is not None and description_html is None else ""
        title = metadata.name if metadata is not None and normalize(metadata.name) == normalize(project) else project
        return self._render(
            "release",
            root,
            project=project,
            title=title,
            version=version,
            prerelease=is_prerelease(version),
            files=files,
            yanked=bool(files) and all(file.yanked is not None for file in files),
            reasons=_reasons(files),
            summary=_text(metadata, "summary"),
            facts=_facts(metadata),
            dependencies=_texts(metadata, "requires_dist"),
            classifiers=_texts(metadata, "classifiers"),
            description=Markup(description_html) if description_html is not None else None,
            text=text[:MAX_DESCRIPTION],
            cut=len(text) > MAX_DESCRIPTION,
            requirement=shlex.quote(f"{project}=={version}"),
            path=lambda file: file_path("remote" if file.url else "local", project, file),
        )

    def problem(self, status: int, title: str, detail: str, root: str) -> bytes:
        """The page that explains an error to somebody with a browser."""
        return self._render("problem", root, status=status, title=title, detail=detail)

    @returns_deferred
    async def render_description(self, metadata: CoreMetadata) -> str | None:
        """@return: the description as safe HTML, or None where it can be shown as text only."""
        return await self._descriptions.render(metadata)

    def _render(self, template: str, root: str, **values: object) -> bytes:
        # A file name may hold surrogates where upstream's listing was not UTF-8; a page always is.
        return self._templates[template].render(root=root, **values).encode(errors="replace")

    def _elsewhere(self, query: str, found: tuple[str, ...] | None) -> str | None:
        # Upstream's list of names is never fetched, so a search cannot find what nobody has asked for yet.
        if found is None or self._offline or not self._upstream_configured or not is_project_name(query):
            return None
        name = normalize(query)
        return None if name in found else name


def _load_static() -> Mapping[str, tuple[bytes, str]]:
    found = {}
    for item in (resources.files("cheddar.web") / "static").iterdir():
        suffix = item.name[item.name.rfind(".") :]
        if suffix in _CONTENT_TYPES:
            found[item.name] = (item.read_bytes(), _CONTENT_TYPES[suffix])
    return MappingProxyType(found)


def _install_lines(address: str) -> Mapping[str, str]:
    """The parts of command lines that depend on the server's address, quoted for a shell."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost" or host.endswith(".localhost")
    # pip ignores an index on plain HTTP unless it is on this machine or named as trusted.
    trusted = "" if parts.scheme == "https" or local else shlex.quote(host)
    return {"simple": shlex.quote(f"{address}simple/"), "upload": shlex.quote(f"{address}pypi/"), "trusted": trusted}


def _all_versions(project: Project) -> tuple[str, ...]:
    """The project's versions, oldest first, those that only its files name among them."""
    others = {file.version for file in project.files}.difference(project.versions)
    return sort_versions(others.union(project.versions)) if others else project.versions


def _rows(project: Project) -> tuple[_Row, ...]:
    by_version: dict[str, list[File]] = defaultdict(list)
    for file in project.files:
        by_version[file.version].append(file)
    rows: list[_Row] = []
    room = MOST_FILES
    for version in reversed(_all_versions(project)):
        files = tuple(by_version[version])
        room -= len(files)
        if len(rows) == MOST_RELEASES or (room < 0 and rows):
            break
        yanked = sum(file.yanked is not None for file in files)
        rows.append(
            _Row(
                version=version,
                prerelease=is_prerelease(version),
                uploaded_at=min((file.upload_time for file in files if file.upload_time is not None), default=None),
                yanked="none" if not yanked else "all" if yanked == len(files) else "some",
                reasons=_reasons(files),
                files=files,
            )
        )
    return tuple(rows)


def _reasons(files: tuple[File, ...]) -> tuple[str, ...]:
    """Why files were yanked, each reason once."""
    return tuple(dict.fromkeys(file.yanked for file in files if file.yanked))


def _text(metadata: CoreMetadata | None, key: str) -> str:
    value = metadata.fields.get(key, "") if metadata is not None else ""
    return value.strip() if isinstance(value, str) and value.strip() != _UNKNOWN else ""


def _texts(metadata: CoreMetadata | None, key: str) -> tuple[str, ...]:
    value = metadata.fields.get(key, []) if metadata is not None else []
    return tuple(item for item in value if item != _UNKNOWN) if isinstance(value, list) else ()


def _address(text: str) -> str | None:
    """C{text} if it is an address that a page may link to."""
    return text if _LINK.match(text) else None


def _facts(metadata: CoreMetadata | None) -> tuple[tuple[str, tuple[_Value, ...]], ...]:
    """What a release says of itself, as labelled values; what it does not say is left out."""
    license_text = _text(metadata, "license_expression") or _text(metadata, "license")
    if len(license_text) > _LONGEST_LICENSE or "\n" in license_text:
        license_text = license_text.splitlines()[0][:_LONGEST_LICENSE] + " …"
    urls = metadata.fields.get("project_urls", {}) if metadata is not None else {}
    links = [_Value(f"{label}: {url}", _address(url)) for label, url in urls.items()] if isinstance(urls, dict) else []
    links += [
        _Value(f"{label}: {url}", _address(url))
        for label, key in (("Home page", "home_page"), ("Download", "download_url"))
        if (url := _text(metadata, key))
    ]
    facts = (
        ("Author", (_person(metadata, "author"),)),
        ("Maintainer", (_person(metadata, "maintainer"),)),
        ("License", (license_text,)),
        ("Requires Python", (_text(metadata, "requires_python"),)),
        ("Keywords", (", ".join(_texts(metadata, "keywords")),)),
        ("Extras", (", ".join(_texts(metadata, "provides_extra")),)),
    )
    stated = [(label, tuple(_Value(text) for text in texts if text)) for label, texts in facts]
    return tuple((label, values) for label, values in (*stated, ("Links", tuple(links))) if values)


def _person(metadata: CoreMetadata | None, role: str) -> str:
    return ", ".join(text for text in (_text(metadata, role), _text(metadata, f"{role}_email")) if text)


def _segment(text: str) -> str:
    """C{text} as one segment of a path."""
    return quote(text, safe="")


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} bytes"
    amount, units = size / 1000, ["kB", "MB", "GB"]
    while amount >= 999.95 and len(units) > 1:
        amount /= 1000
        del units[0]
    return f"{amount:.1f} {units[0]}"


def _day(time: datetime) -> str:
    return f"{time.astimezone(timezone.utc):%Y-%m-%d}"


def _minute(time: datetime) -> str:
    return f"{time.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _iso(time: datetime) -> str:
    return f"{time.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
