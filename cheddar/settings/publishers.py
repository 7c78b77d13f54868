"""The tables C{[[publisher]]} of a settings file: who may publish a project by showing an identity token (OIDC)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn
from urllib.parse import urlsplit

from attrs import frozen

from cheddar.errors import SettingsError
from cheddar.names import is_project_name, normalize

#: The issuers of services that everybody knows.
ISSUERS: Mapping[str, str] = MappingProxyType(
    {
        "github": "https://token.actions.githubusercontent.com",
        "gitlab": "https://gitlab.com",
        "google": "https://accounts.google.com",
    }
)
#: Kinds whose issuer is to be given.
WITHOUT_ISSUER = ("kubernetes", "oidc")
KINDS = (*ISSUERS, *WITHOUT_ISSUER)

#: What identifies a publisher of each kind: keys of its table, those that must be there first.
IDENTIFYING: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "github": (("repository", "workflow"), ("environment", "owner_id", "ref")),
        "gitlab": (("repository",), ("workflow", "environment", "owner_id", "ref")),
        "google": (("email",), ("subject",)),
        "kubernetes": (("namespace", "service_account"), ()),
        "oidc": (("subject",), ()),
    }
)
_PLACES = ("issuer", "jwks_file", "jwks_url", "ca_bundle")
_ALL = ("project", "kind", *_PLACES, "claims")


@frozen(kw_only=True)
class PublisherSettings:
    """
    One publisher of one project.

    @ivar project: the normalized name.
    @ivar kind: one of L{KINDS}.
    @ivar issuer: the C{iss} of its tokens, to the letter.
    @ivar identifying: what L{IDENTIFYING} says of its kind, by key.
    @ivar claims: further claims that its tokens must have, with exactly these values.
    @ivar jwks_file: the issuer's public keys (RFC 7517) in a file: nothing is fetched; or None.
    @ivar jwks_url: where they are fetched; empty: where the issuer's own configuration says.
    @ivar ca_bundle: certificate authorities to believe then, in place of the platform's (PEM), or None.
    """

    project: str
    kind: str
    issuer: str
    identifying: Mapping[str, str]
    claims: Mapping[str, str] = MappingProxyType({})
    jwks_file: Path | None = None
    jwks_url: str = ""
    ca_bundle: Path | None = None

    def __str__(self) -> str:
        """For people."""
        return f"{self.project}={self.kind}:{next(iter(self.identifying.values()), self.issuer)}"


def read_publishers(place: str, tables: object) -> tuple[PublisherSettings, ...]:
    """
    Check the tables.

    @param place: the file, for messages.
    @raise SettingsError: something in them is wrong.
    """
    if not isinstance(tables, Sequence) or not all(isinstance(table, Mapping) for table in tables):
        raise SettingsError(f"{place}: PUBLISHER must be tables: begin each publisher with a line [[publisher]]")
    read = tuple(_table(f"{place}: [[publisher]] {number}", table) for number, table in enumerate(tables, 1))
    _check_issuers(place, read)
    return read


def _table(place: str, table: Mapping[str, object]) -> PublisherSettings:
    values = {key.lower(): value for key, value in table.items()}
    kind = values.get("kind")
    if kind not in KINDS:
        _wrong(f"{place}: kind", f"one of {', '.join(KINDS)}")
    needed, more = IDENTIFYING[str(kind)]
    known = (*_ALL, *needed, *more)
    for key in values:
        if key not in known:
            raise SettingsError(f"{place}: unknown key {key}; for {kind} there are {', '.join(known)}")
    for key in ("project", *needed, *(("issuer",) if kind in WITHOUT_ISSUER else ())):
        if key not in values:
            raise SettingsError(f"{place}: {key} is missing")
    texts = {key: _text(f"{place}: {key}", value) for key, value in values.items() if key not in ("project", "claims")}
    if "jwks_file" in texts and "jwks_url" in texts:
        raise SettingsError(f"{place}: jwks_file and jwks_url say the same thing: one of them is enough")
    issuer = texts.get("issuer", "") or ISSUERS[str(kind)]
    _check_address(f"{place}: issuer", issuer)
    if "jwks_url" in texts:
        _check_address(f"{place}: jwks_url", texts["jwks_url"])
    return PublisherSettings(
        project=_project(f"{place}: project", values["project"]),
        kind=str(kind),
        issuer=issuer,
        identifying={key: texts[key] for key in (*needed, *more) if key in texts},
        claims=_claims(f"{place}: claims", values.get("claims", {})),
        jwks_file=Path(texts["jwks_file"]) if "jwks_file" in texts else None,
        jwks_url=texts.get("jwks_url", ""),
        ca_bundle=Path(texts["ca_bundle"]) if "ca_bundle" in texts else None,
    )


def _check_issuers(place: str, publishers: Sequence[PublisherSettings]) -> None:
    """All that say the same issuer must find its keys in the same place."""
    places: dict[str, tuple[object, ...]] = {}
    for publisher in publishers:
        found = (publisher.jwks_file, publisher.jwks_url, publisher.ca_bundle)
        if places.setdefault(publisher.issuer, found) != found:
            raise SettingsError(f"{place}: two publishers of {publisher.issuer} differ in where its keys are")


def _project(place: str, value: object) -> str:
    text = _text(place, value)
    return normalize(text) if is_project_name(text) else _wrong(place, "the name of one project")


def _claims(place: str, value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) and item for item in value.values()):
        _wrong(place, 'a table of strings: claims = { aud_extra = "value" }')
    return {str(name): str(item) for name, item in value.items()}


def _text(place: str, value: object) -> str:
    return value if isinstance(value, str) and value and "\0" not in value else _wrong(place, "a string")


def _check_address(place: str, value: str) -> None:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None:
        _wrong(place, "a whole address that begins with https:// (http:// where nothing can be in between)")


def _wrong(place: str, wanted: str) -> NoReturn:
    raise SettingsError(f"{place} must be {wanted}")
