"""
Provenance objects (PEP 740): what they have to be, and where pages say they are.

Source: index hosted attestations, "Provenance objects"; simple repository API, C{data-provenance} and C{provenance}.
"""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any, NoReturn
from urllib.parse import urlsplit

from cheddar.errors import Invalid
from cheddar.formats.links import file_path
from cheddar.model import File, Project

#: What stands after a file's address and after its storage key.
SUFFIX = ".provenance"
CONTENT_TYPE = "application/vnd.pypi.integrity.v1+json"
VERSION = 1
#: Bytes of the largest provenance object that is taken, from a publisher or from upstream. An attestation has some ten
#: thousand.
MAX_SIZE = 400 * 1024
#: Objects and arrays in one: an attestation has some twenty. Made by the hundred thousand they have the interpreter
#: look for garbage again and again, and nothing else runs for half a second.
MAX_PARTS = 10_000


def check(data: bytes) -> None:
    """
    Read just as much of a provenance object as every index may rely on: publishers and attestations are for whoever
    verifies them.

    @raise Invalid: it is no provenance object of version 1; the message ends a sentence that says whose it is.
    """
    try:
        document = parse_json(data.decode("utf-8"))
    except ValueError as error:
        raise Invalid(f"is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise Invalid("is not a JSON object")
    # True == 1 in Python, and 1.0 is.
    if type(document.get("version")) is not int or document["version"] != VERSION:
        raise Invalid(f"is not of version {VERSION}")
    bundles = document.get("attestation_bundles")
    if not isinstance(bundles, list) or not bundles:
        raise Invalid("has no attestation_bundles")
    for bundle in bundles:
        if not isinstance(bundle, dict) or not isinstance(bundle.get("publisher"), dict):
            raise Invalid("has a bundle without a publisher")
        if not isinstance(bundle.get("attestations"), list) or not bundle["attestations"]:
            raise Invalid("has a bundle without attestations")


def parse_json(text: str) -> Any:
    """@raise ValueError: this is not JSON, or nothing to read in one go (too many parts, nested too deeply)."""
    if text.count("[") + text.count("{") > MAX_PARTS:
        raise ValueError(f"it has more than {MAX_PARTS} objects and arrays")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_secure(url: str) -> bool:
    """
    Whether an address is one of a secure origin: C{https}, or C{http} on the machine itself (Secure Contexts, "Is
    origin potentially trustworthy?").
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "http" or not host:
            return parts.scheme == "https" and bool(host)
        return host == "localhost" or host.endswith(".localhost") or ip_address(host).is_loopback
    except ValueError:
        return False


def told_below(address: str) -> str:
    """
    The address below which pages say where provenance is; empty where they must not say.

    Both formats demand a fully qualified URL that MUST represent a secure origin. Behind an address of plain HTTP
    (a loopback one aside) there is none: pages then leave provenance out, though it is kept, and served to who asks
    for it. An operator who sets PUBLIC_URL to an C{https} address has it told from then on, of all files.

    @param address: the one that users see, with a slash at its end; empty: there is none.
    """
    return address if is_secure(address) else ""


def provenance_url(below: str, project: Project, file: File) -> str | None:
    """
    Where a page says that a file's provenance is; None: it does not say.

    @param below: of L{told_below}.
    """
    if file.provenance is None or not below:
        return None
    return f"{below}{file_path(project.index, project.name, file)}{SUFFIX}"


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
