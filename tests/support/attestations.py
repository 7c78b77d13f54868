"""
Attestations (PEP 740) signed with a key of the tests' own: of the right shape in every part, and verified by nobody.

The certificate signs itself and no log has the signature; all else is as a signer in a CI service would have made it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pypi_attestations import AttestationType

from tests.support.distributions import sha256

PUBLISH = AttestationType.PYPI_PUBLISH_V1.value
SLSA = AttestationType.SLSA_PROVENANCE_V1.value
PAYLOAD_TYPE = "application/vnd.in-toto+json"

#: What Fulcio calls the claims, by their number below 1.3.6.1.4.1.57264.1.
_CLAIMS = {"issuer": 8, "build_signer": 9, "repository": 12, "commit": 13, "ref": 14, "build_config": 18}
_COMMIT = "0123456789abcdef0123456789abcdef01234567"

#: Signers, as their certificates name them.
GITHUB = {
    "uri": "https://github.com/acme/demo/.github/workflows/release.yml@refs/tags/v1",
    "issuer": "https://token.actions.githubusercontent.com",
    "repository": "https://github.com/acme/demo",
    "commit": _COMMIT,
    "ref": "refs/tags/v1",
    "build_config": "https://github.com/acme/demo/.github/workflows/release.yml@refs/tags/v1",
}
GITLAB = {
    "uri": "https://gitlab.com/acme/tools/demo//.gitlab-ci.yml@refs/heads/main",
    "issuer": "https://gitlab.com",
    "repository": "https://gitlab.com/acme/tools/demo",
    "commit": _COMMIT,
    "ref": "refs/heads/main",
    "build_config": f"https://gitlab.com/acme/tools/demo//ci/release.yml@{_COMMIT}",
}
GOOGLE = {"mail": "builder@acme.example", "issuer": "https://accounts.google.com"}
CIRCLECI = {
    "uri": "https://circleci.com/api/v2/projects/5a/pipeline-definitions/7b",
    "issuer": "https://oidc.circleci.com",
    "build_signer": "https://circleci.com/api/v2/projects/5a/pipeline-definitions/7b",
    "repository": "github.com/acme/demo",
    "ref": "refs/heads/main",
}
#: A GitLab of one's own, which no reader of provenance knows.
OWN_GITLAB = {
    "uri": "https://gitlab.acme.example/tools/demo//.gitlab-ci.yml@refs/heads/main",
    "issuer": "https://gitlab.acme.example",
    "repository": "https://gitlab.acme.example/tools/demo",
    "commit": _COMMIT,
    "ref": "refs/heads/main",
    "build_config": "https://gitlab.acme.example/tools/demo//.gitlab-ci.yml@refs/heads/main",
}


def statement_about(filename: str, content: bytes, predicate_type: str = PUBLISH, **changes: Any) -> dict[str, Any]:
    """
    An in-toto statement.

    @param changes: keys of the statement, or C{name} or C{digest} of its subject, that are to be something else.
    """
    subject = {
        "name": changes.pop("name", filename),
        "digest": changes.pop("digest", {"sha256": sha256(content)}),
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": predicate_type,
        "predicate": None,
        **changes,
    }


def attest(
    filename: str,
    content: bytes,
    predicate_type: str = PUBLISH,
    *,
    signer: Mapping[str, str] = GITHUB,
    statement: Any = None,
) -> dict[str, Any]:
    """
    An attestation object.

    @param statement: to sign in place of the right one: a value that becomes JSON, or bytes as they are.
    """
    if statement is None:
        statement = statement_about(filename, content, predicate_type)
    payload = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    key = ec.generate_private_key(ec.SECP256R1())
    # The DSSE protocol's "pre-authentication encoding".
    signed = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    return {
        "version": 1,
        "verification_material": {
            "certificate": _base64(_certificate(key, signer)),
            "transparency_entries": [_entry(payload)],
        },
        "envelope": {
            "statement": _base64(payload),
            "signature": _base64(key.sign(signed, ec.ECDSA(hashes.SHA256()))),
        },
    }


def provenance_of(*attestations: Any, publisher: Mapping[str, Any] | None = None) -> bytes:
    """A provenance object, as another index would serve it."""
    who = publisher or {"kind": "GitHub", "repository": "acme/demo", "workflow": "release.yml", "environment": None}
    bundle = {"publisher": who, "attestations": list(attestations)}
    return json.dumps({"version": 1, "attestation_bundles": [bundle]}).encode()


def _certificate(key: ec.EllipticCurvePrivateKey, signer: Mapping[str, str]) -> bytes:
    now = datetime.now(timezone.utc)
    subject = x509.RFC822Name(signer["mail"]) if "mail" in signer else x509.UniformResourceIdentifier(signer["uri"])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Nobody's authority")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(minutes=10))
        .add_extension(x509.SubjectAlternativeName([subject]), critical=True)
        # The issuer in its older place: without DER around it.
        .add_extension(_extension(1, signer["issuer"].encode()), critical=False)
    )
    for claim, number in _CLAIMS.items():
        if claim in signer:
            builder = builder.add_extension(_extension(number, _utf8_string(signer[claim])), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _extension(number: int, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}"), value)


def _utf8_string(text: str) -> bytes:
    """DER's UTF8String, of fewer than 128 bytes."""
    data = text.encode()
    assert len(data) < 128
    return bytes((0x0C, len(data))) + data


def _entry(payload: bytes) -> dict[str, Any]:
    """A line of a transparency log, in the shape that Rekor's have."""
    root = _base64(hashlib.sha256(payload).digest())
    return {
        "logIndex": "7",
        "logId": {"keyId": _base64(hashlib.sha256(b"nobody's log").digest())},
        "kindVersion": {"kind": "dsse", "version": "0.0.1"},
        "integratedTime": str(int(datetime.now(timezone.utc).timestamp())),
        "inclusionPromise": {"signedEntryTimestamp": _base64(b"a timestamp")},
        "inclusionProof": {
            "logIndex": "7",
            "rootHash": root,
            "treeSize": "8",
            "hashes": [root],
            "checkpoint": {"envelope": "log.example\n8\nroot\n"},
        },
        "canonicalizedBody": _base64(b"{}"),
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
