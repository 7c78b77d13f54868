"""
The text of an API token: C{chd_<id>_<secret>_<checksum>}.

The prefix and the lengths let scanners find a token that has got into a repository or a log; by the checksum they, and
Cheddar, tell a token from what only looks like one without asking a store.
"""

from __future__ import annotations

import re
import string
from zlib import crc32

#: The digits of the parts, in the order of their value.
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH = 12
#: 190 bits: nobody guesses one, so that its digest needs no salt and no slow hash.
SECRET_LENGTH = 32
#: Holds any CRC-32.
_CHECKSUM_LENGTH = 6

#: For scanners: the README names it. ASCII alone, whatever the flags.
PATTERN = rf"chd_[0-9A-Za-z]{{{ID_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH}}}_[0-9A-Za-z]{{{_CHECKSUM_LENGTH}}}"

_TOKEN = re.compile(PATTERN)


def format_token(token_id: str, secret: str) -> str:
    """The token with this id and secret, both of L{ALPHABET} and of their lengths."""
    body = f"chd_{token_id}_{secret}"
    return f"{body}_{_checksum(body)}"


def parse_token(text: str) -> tuple[str, str]:
    """
    The id and the secret of a token.

    @raise ValueError: it is none, or was mistyped. The message has nothing of C{text}: it may be a secret.
    """
    if _TOKEN.fullmatch(text) is None:
        raise ValueError("a token is chd_, then an id, a secret and a checksum with _ between them")
    body, _, checksum = text.rpartition("_")
    if checksum != _checksum(body):
        raise ValueError("the token's checksum is wrong: a character of it was changed or left out")
    _, token_id, secret = body.split("_")
    return token_id, secret


def _checksum(body: str) -> str:
    rest, digits = crc32(body.encode("ascii")), ""
    for _ in range(_CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
