"""Provenance objects and attestations as bytes; what they are over HTTP is in tests/web/test_provenance.py."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.x509 import load_der_x509_certificate
from pypi_attestations import Attestation, Provenance

from cheddar.errors import Invalid
from cheddar.formats import attestations, provenance
from tests.support.attestations import CIRCLECI, GITHUB, GITLAB, GOOGLE, OWN_GITLAB, attest
from tests.support.distributions import make_wheel, sha256

WHEEL, CONTENT = make_wheel("demo", "1.0")


def publisher_of(signer: Mapping[str, str]) -> tuple[dict[str, Any], bytes, Attestation]:
    """The publisher of the object made of an attestation by C{signer}; the object, and the attestation."""
    attestation = attest(WHEEL, CONTENT, signer=signer)
    made = attestations.provenance_of(json.dumps([attestation]), WHEEL, sha256(CONTENT))
    (bundle,) = json.loads(made)["attestation_bundles"]
    return bundle["publisher"], made, Attestation.model_validate(attestation)


@pytest.mark.conforms("PEP 740", "Publishers: named as the certificate that signed names them")
@pytest.mark.parametrize(
    ("signer", "expected"),
    [
        (GITHUB, {"kind": "GitHub", "repository": "acme/demo", "workflow": "release.yml", "environment": None}),
        (
            GITLAB,
            {
                "kind": "GitLab",
                "repository": "acme/tools/demo",
                "workflow_filepath": "ci/release.yml",
                "environment": None,
            },
        ),
        (GOOGLE, {"kind": "Google", "email": "builder@acme.example"}),
        (
            CIRCLECI,
            {
                "kind": "CircleCI",
                "project_id": "5a",
                "pipeline_definition_id": "7b",
                "vcs_origin": "github.com/acme/demo",
                "vcs_ref": "refs/heads/main",
            },
        ),
    ],
)
def test_known_publishers(signer: Mapping[str, str], expected: dict[str, Any]) -> None:
    """Each is the very publisher that the certificate passes for, by the rules of who verifies."""
    publisher, made, attestation = publisher_of(signer)
    assert publisher == {**expected, "claims": {}}
    (bundle,) = Provenance.model_validate_json(made).attestation_bundles
    assert bundle.attestations == [attestation]
    # What a verifier does: the bundle is whole, and the publisher's policy accepts the certificate.
    attestation.to_bundle()
    certificate = load_der_x509_certificate(attestation.verification_material.certificate)
    bundle.publisher._as_policy().verify(certificate)


@pytest.mark.parametrize(
    "signer",
    [
        OWN_GITLAB,
        # A build of one repository by the word of a certificate for another.
        {**GITHUB, "build_config": GITHUB["build_config"].replace("acme", "evil")},
        {**GITHUB, "build_config": GITHUB["build_config"].replace("refs/tags/v1", "refs/tags/v2")},
        {
            **GITHUB,
            "repository": "https://github.com.evil.example/acme/demo",
            "build_config": GITHUB["build_config"].replace("github.com", "github.com.evil.example"),
        },
        {**GITLAB, "build_config": "https://gitlab.com/acme/tools/demo//"},
        {"uri": GITHUB["uri"], "issuer": GITHUB["issuer"]},
        {"uri": "https://robot.example/", "issuer": GOOGLE["issuer"]},
        {"mail": "somebody@acme.example", "issuer": "https://github.com/login/oauth"},
        {**CIRCLECI, "build_signer": "https://circleci.com/api/v2/projects/5a"},
    ],
)
def test_unknown_publishers(signer: Mapping[str, str]) -> None:
    """Who is none of the known is not taken for one: the kind says so, and issuer and identities are named."""
    publisher, made, _ = publisher_of(signer)
    assert publisher == {
        "kind": "Certificate",
        "claims": {},
        "issuer": signer["issuer"],
        "identities": [signer.get("mail") or signer["uri"]],
    }
    provenance.check(made)


def test_a_broken_certificate() -> None:
    """A certificate with a claim that is no text is refused, whatever the libraries make of it."""
    attestation = attest(WHEEL, CONTENT)
    material = attestation["verification_material"]
    certificate = base64.b64decode(material["certificate"])
    # The tag of a UTF8String made that of an integer.
    repository = GITHUB["repository"].encode()
    length = bytes((len(repository),))
    broken = certificate.replace(b"\x0c" + length + repository, b"\x02" + length + repository)
    assert broken != certificate
    material["certificate"] = base64.b64encode(broken).decode()
    with pytest.raises(Invalid, match="certificate that cannot be read"):
        attestations.provenance_of(json.dumps([attestation]), WHEEL, sha256(CONTENT))


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://index.example/", True),
        ("https://index.example:8443/x/", True),
        ("http://index.example/", False),
        ("http://localhost:5000/", True),
        ("http://cheddar.localhost/", True),
        ("http://localhost.example/", False),
        ("http://127.1.2.3/", True),
        ("http://[::1]:80/", True),
        ("http://192.168.0.1/", False),
        ("http://0.0.0.0/", False),
        ("ftp://127.0.0.1/", False),
        ("https:///x", False),
        ("https://[", False),
        ("/relative", False),
        ("", False),
    ],
)
def test_secure_origins(url: str, secure: bool) -> None:
    """Encrypted, or on the machine itself."""
    assert provenance.is_secure(url) == secure
    assert provenance.told_below(url) == (url if secure else "")
