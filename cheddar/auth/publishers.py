"""Trusted publishers: what an identity token must say, so that its bearer may publish a project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from cheddar.settings.publishers import PublisherSettings

Claims = Mapping[str, Any]
Wanted = tuple[str, Callable[[object], bool], str]


@frozen
class Publisher:
    """
    @ivar project: the normalized name of what it may publish.
    @ivar name: who it is, in logs and in the audit log: C{github:acme/web}.
    @ivar issuer: who vouches for it.
    @ivar _wanted: claims, how each is judged, and what is expected, for people.
    """

    project: str
    name: str
    issuer: str
    _wanted: tuple[Wanted, ...]

    def missing(self, claims: Claims) -> tuple[str, ...]:
        """What a verified token's claims lack to be this publisher's: nothing for its own."""
        return tuple(f"{name} is not {expected}" for name, fits, expected in self._wanted if not fits(claims.get(name)))


def publisher_of(settings: PublisherSettings) -> Publisher:
    """The publisher that a table of the settings describes."""
    given = settings.identifying
    wanted = [*_CLAIMS[settings.kind](settings.issuer, given), *(_exactly(*claim) for claim in settings.claims.items())]
    return Publisher(settings.project, f"{settings.kind}:{next(iter(given.values()))}", settings.issuer, tuple(wanted))


def _exactly(name: str, value: str) -> Wanted:
    return name, lambda found: isinstance(found, str) and found == value, value


def _spelled_somehow(name: str, value: str) -> Wanted:
    # Owners and repositories are told apart by GitHub and GitLab without regard to case.
    return name, lambda found: isinstance(found, str) and found.lower() == value.lower(), value


def _begins(name: str, beginning: str) -> Wanted:
    def fits(found: object) -> bool:
        return isinstance(found, str) and found.lower().startswith(beginning.lower())

    return name, fits, f"{beginning}..."


def _given(given: Mapping[str, str], names: Mapping[str, str]) -> list[Wanted]:
    return [_exactly(claim, given[key]) for key, claim in names.items() if key in given]


def _github(issuer: str, given: Mapping[str, str]) -> list[Wanted]:
    # The claims of GitHub's tokens: "OpenID Connect reference" of its documentation. A reusable workflow of another
    # repository has its own in job_workflow_ref: it is no publisher of this one.
    repository = given["repository"]
    return [
        _spelled_somehow("repository", repository),
        _begins("job_workflow_ref", f"{repository}/.github/workflows/{given['workflow']}@"),
        *_given(given, {"environment": "environment", "owner_id": "repository_owner_id", "ref": "ref"}),
    ]


def _gitlab(issuer: str, given: Mapping[str, str]) -> list[Wanted]:
    # "OpenID Connect ID tokens" of GitLab's documentation.
    host = issuer.partition("://")[2]
    workflow = given.get("workflow", ".gitlab-ci.yml")
    return [
        _spelled_somehow("project_path", given["repository"]),
        _begins("ci_config_ref_uri", f"{host}/{given['repository']}//{workflow}@"),
        *_given(given, {"environment": "environment", "owner_id": "namespace_id", "ref": "ref"}),
    ]


def _google(issuer: str, given: Mapping[str, str]) -> list[Wanted]:
    return [
        _exactly("email", given["email"]),
        ("email_verified", lambda found: found is True, "true"),
        *_given(given, {"subject": "sub"}),
    ]


def _kubernetes(issuer: str, given: Mapping[str, str]) -> list[Wanted]:
    return [_exactly("sub", f"system:serviceaccount:{given['namespace']}:{given['service_account']}")]


def _any(issuer: str, given: Mapping[str, str]) -> list[Wanted]:
    return _given(given, {"subject": "sub"})


_CLAIMS: Mapping[str, Callable[[str, Mapping[str, str]], list[Wanted]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "google": _google,
    "kubernetes": _kubernetes,
    "oidc": _any,
}
