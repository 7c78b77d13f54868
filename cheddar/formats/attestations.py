"""
Attestations that come with an upload (PEP 740): checked for form, and made a provenance object.

They are not verified: that takes the signer's authority and a transparency log, which are somebody else's servers. An
index that does not verify still keeps who uploads from attesting to another file, or to nothing.

Source: index hosted attestations, "Attestation objects" and "Attestation verification"; for the form's field the
upload API of the public index.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from cheddar.errors import Invalid, TooLarge
from cheddar.formats.filenames import is_wheel
from cheddar.formats.provenance import MAX_SIZE, VERSION, parse_json
from cheddar.formats.publishers import publisher_of
from cheddar.names import is_filename

if TYPE_CHECKING:
    from pypi_attestations import Attestation

_STATEMENT = "https://in-toto.io/Statement/v1"
_OUT = "Attest again, or upload without attestations."


def provenance_of(field: str, filename: str, sha256: str) -> bytes:
    """
    The provenance object of a file that came with attestations; for use in a thread.

    Each attestation is kept as it was sent, with whatever it has beside what the format names.

    @param field: a JSON array, as the form has it.
    @param filename: the file's name, valid.
    @param sha256: the file's digest, in lower-case hexadecimal.
    @raise Invalid: these are no attestations of this file. [TooLarge]
    """
    if len(field) > MAX_SIZE:
        raise _too_large(filename)
    # Here, not above: these bring 50 MB of libraries along, and most servers never see an attestation.
    from pypi_attestations import AttestationType

    known = [kind.value for kind in AttestationType]
    try:
        entries = parse_json(field)
    except ValueError as error:
        raise Invalid(f"The upload's attestations are not JSON ({error}). {_OUT}") from None
    if not isinstance(entries, list):
        raise Invalid("The upload's attestations are not a JSON array: send one, even of a single attestation.")
    if not entries:
        raise Invalid("The upload's attestations are an empty array: leave the field out where there are none.")
    if len(entries) > len(known):
        raise Invalid(f"The upload has {len(entries)} attestations; a file has at most {len(known)}, one of each type.")
    seen: set[str] = set()
    bundles: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, 1):
        try:
            attestation = _attestation(entry)
            kind = _checked_statement(attestation.envelope.statement, filename, sha256)
            if kind not in known:
                raise Invalid(f"says {kind[:200]!r}, a type that is not known here: known are {' and '.join(known)}")
            if kind in seen:
                raise Invalid(f"says {kind} as another one does: a file has one of each type")
            publisher = publisher_of(attestation)
        except Invalid as error:
            raise Invalid(f"Attestation {number} of {filename} {error}. {_OUT}") from None
        seen.add(kind)
        # One bundle for each signing identity.
        bundle = next((bundle for bundle in bundles if bundle["publisher"] == publisher), None)
        if bundle is None:
            bundle = {"publisher": publisher, "attestations": []}
            bundles.append(bundle)
        bundle["attestations"].append(entry)
    document = {"version": VERSION, "attestation_bundles": bundles}
    data = json.dumps(document, separators=(",", ":")).encode("ascii")
    if len(data) > MAX_SIZE:
        raise _too_large(filename)
    return data


def _attestation(entry: object) -> Attestation:
    from pydantic import ValidationError
    from pypi_attestations import Attestation

    if not isinstance(entry, dict):
        raise Invalid("is not a JSON object")
    try:
        # By way of text: what is kept is what was checked, in the very way in which others will read it.
        attestation = Attestation.model_validate_json(json.dumps(entry, allow_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        raise Invalid(f"is not an attestation of version 1{f': {where}' if where else ''}: {first['msg']}") from None
    except (ValueError, RecursionError):
        raise Invalid("has a number that is none, or is nested too deeply") from None
    # pydantic passes over what is not base64.
    for part, key in (("verification_material", "certificate"), ("envelope", "statement"), ("envelope", "signature")):
        try:
            value = base64.b64decode("".join(entry[part][key].split()), validate=True)
        except ValueError:
            value = b""
        if not value:
            raise Invalid(f"is not an attestation of version 1: {part}.{key} is not base64")
    return attestation


def _checked_statement(data: bytes, filename: str, sha256: str) -> str:
    """The predicate type of a statement about this file. [Invalid]"""
    try:
        statement = parse_json(data.decode("utf-8"))
    except ValueError as error:
        raise Invalid(f"has a statement that is not JSON ({error})") from None
    if not isinstance(statement, dict) or statement.get("_type") != _STATEMENT:
        raise Invalid(f"has a statement that is not an in-toto statement of version 1 ({_STATEMENT})")
    subjects = statement.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        raise Invalid("has a statement that is not about exactly one subject")
    name, digests = subjects[0].get("name"), subjects[0].get("digest")
    if not isinstance(name, str) or not _same_file(name, filename):
        raise Invalid(f"is about {_shown(name)}, not about this file")
    digest = digests.get("sha256") if isinstance(digests, Mapping) else None
    if digest != sha256:
        raise Invalid(f"is about a file whose SHA-256 is {_shown(digest)}, and this file's is {sha256}")
    kind = statement.get("predicateType")
    if not isinstance(kind, str):
        raise Invalid("has a statement without a predicateType")
    return kind


def _same_file(subject: str, filename: str) -> bool:
    """
    Whether two file names are of the same file: compared by what they say, since a subject's may be spelled another
    way (index hosted attestations, "Attestation verification").
    """
    if subject == filename:
        return True
    if not is_filename(subject) or is_wheel(subject) != is_wheel(filename):
        return False
    try:
        if is_wheel(filename):
            return parse_wheel_filename(subject) == parse_wheel_filename(filename)
        return parse_sdist_filename(subject) == parse_sdist_filename(filename)
    except (InvalidSdistFilename, InvalidWheelFilename):
        return False


def _too_large(filename: str) -> TooLarge:
    return TooLarge(f"The attestations of {filename} are larger than {MAX_SIZE // 1024} KiB, the most taken. {_OUT}")


def _shown(value: object) -> str:
    return repr(value)[:200] if isinstance(value, str) else "nothing"
