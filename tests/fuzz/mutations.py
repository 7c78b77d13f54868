"""Good inputs, gone wrong in a few places."""

from __future__ import annotations

from random import Random

#: Bytes that mean something to one reader or another.
WORDS = (
    b"\0", b"\r\n", b"\n", b"--", b'"', b"<", b">", b"&#0;", b"{", b"[", b"]" * 50, b"[" * 2000, b"PK\3\4", b"PK\1\2",
    b"PK\5\6", b"\xff\xff\xff\xff", b"\xed\xa0\x80", b"\xe2\x80\xae", b"NaN", b"1e999", b"-1", b"9" * 40, b"bytes=",
    b"sha256", b"../", b"%2f", b"null", b"true", b'"sha256":5', b"Content-Disposition: ", b"Metadata-Version: 9.9\n",
    b"9" * 5000,
)  # fmt: skip
MOST = 12


def mutated(seed: bytes, random: Random) -> bytes:
    """Some bytes changed, left out, doubled or put in."""
    data = bytearray(seed)
    for _ in range(random.randint(1, MOST)):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice((1, 1, 2, 4, 16, 200)))
        kind = random.randrange(6)
        if kind == 0:
            data[at:end] = random.randbytes(end - at)
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            data[at:at] = data[at:end]
        elif kind == 3:
            data[at:at] = random.choice(WORDS)
        elif kind == 4:
            data[at:end] = random.choice(WORDS)
        elif at < len(data):
            data[at] ^= 1 << random.randrange(8)
    return bytes(data)
