"""
Who signed an attestation (PEP 740), by the word of the certificate that comes with it.

Nothing here is verified: anybody can make a certificate that says anything. Whoever verifies the attestation finds out
whether the certificate is genuine, and whether it is this publisher's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cheddar.errors import Invalid

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from pypi_attestations import Attestation

#: What a publisher is called that is none of the services below: the certificate is all that is known of it.
UNKNOWN = "Certificate"

_GITHUB = ("https://token.actions.githubusercontent.com", "https://github.com/")
_GITLAB = ("https://gitlab.com", "https://gitlab.com/")
_GOOGLE = "https://accounts.google.com"
_CIRCLECI = ("https://oidc.circleci.com", "https://circleci.com/api/v2/projects/")

# Extensions of Fulcio's certificates, below 1.3.6.1.4.1.57264.1 (Fulcio, "Sigstore OID information").
_FULCIO = "1.3.6.1.4.1.57264.1."
_ISSUER = _FULCIO + "8"
_BUILD_SIGNER = _FULCIO + "9"
_REPOSITORY = _FULCIO + "12"
_COMMIT = _FULCIO + "13"
_REF = _FULCIO + "14"
_BUILD_CONFIG = _FULCIO + "18"


def publisher_of(attestation: Attestation) -> dict[str, Any]:
    """
    The C{publisher} of the bundle that an attestation belongs into.

    GitHub's, GitLab's, Google's and CircleCI's are those that C{pypi-attestations} knows, just as it would verify them.
    Of another signer (a GitLab of one's own, say) it knows no kind; taking it for one of these would be a lie, so it
    gets a kind of its own: L{UNKNOWN}, with the C{issuer} and the C{identities} that the certificate names. Readers of
    the open format read that; those that know four kinds refuse it, and could not verify it.

    C{claims} has to be there, and holds what an index keeps of a login by trusted publishing: there was none.

    Source: index hosted attestations, "Provenance objects".

    @raise Invalid: the certificate cannot be read; the message ends a sentence that says whose it is.
    """
    from cryptography.x509 import load_der_x509_certificate

    try:
        certificate = load_der_x509_certificate(attestation.verification_material.certificate)
        mails, uris = _identities(certificate)
        claims = attestation.certificate_claims
    except Exception as error:  # each part of a broken certificate fails in its own way, deep in two libraries
        raise Invalid(
            f"has a certificate that cannot be read: it is not an X.509 certificate in DER ({error})"
        ) from error
    known = _known(claims, mails)
    if known is None:
        return {"kind": UNKNOWN, "claims": {}, "issuer": claims.get(_ISSUER), "identities": [*mails, *uris]}
    return {**known, "claims": {}}


def _known(claims: dict[str, str], mails: list[str]) -> dict[str, Any] | None:
    from pypi_attestations import CircleCIPublisher, GitHubPublisher, GitLabPublisher, GooglePublisher

    issuer = claims.get(_ISSUER)
    publisher: Any = None
    if issuer == _GITHUB[0]:
        repository, workflow = _build(claims, _GITHUB[1], "/.github/workflows/")
        if workflow:
            publisher = GitHubPublisher(repository=repository, workflow=workflow)
    elif issuer == _GITLAB[0]:
        repository, workflow = _build(claims, _GITLAB[1], "//")
        if workflow:
            publisher = GitLabPublisher(repository=repository, workflow_filepath=workflow)
    elif issuer == _GOOGLE and len(mails) == 1:
        publisher = GooglePublisher(email=mails[0])
    elif issuer == _CIRCLECI[0]:
        signer = claims.get(_BUILD_SIGNER, "").removeprefix(_CIRCLECI[1])
        project, _, pipeline = signer.partition("/pipeline-definitions/")
        if project and pipeline and "/" not in project + pipeline:
            publisher = CircleCIPublisher(
                project_id=project,
                pipeline_definition_id=pipeline,
                vcs_origin=claims.get(_REPOSITORY),
                vcs_ref=claims.get(_REF),
            )
    return None if publisher is None else publisher.model_dump(mode="json")


def _build(claims: dict[str, str], host: str, between: str) -> tuple[str, str]:
    """
    The repository and the file in it that says how to build: the build's address has both, and then the revision,
    which is the publisher's every time another. Empty where the claims do not agree.
    """
    repository, config = claims.get(_REPOSITORY, ""), claims.get(_BUILD_CONFIG, "")
    begin = repository + between
    if not repository.startswith(host) or not config.startswith(begin):
        return "", ""
    for revision in (claims.get(_COMMIT), claims.get(_REF)):
        if revision and config.endswith(f"@{revision}"):
            return repository.removeprefix(host), config[len(begin) : -len(revision) - 1]
    return "", ""


def _identities(certificate: Certificate) -> tuple[list[str], list[str]]:
    """The mail addresses, and the URIs, that the certificate is for."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    return names.get_values_for_type(x509.RFC822Name), names.get_values_for_type(x509.UniformResourceIdentifier)
