"""
JSON read and written in steps, for use in a thread: one C{json.loads} or C{json.dumps} of a long page holds the
interpreter's lock to its end, and all that the other threads do has to wait for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

#: Items of an array that are written in one step.
_STEP = 100

_space = re.compile(r"[ \t\n\r]*").match
_delimiter_and_space = re.compile(r"[ \t\n\r]*(?:(,)[ \t\n\r]*|(?=[\]}]))").match


def loads(text: str, decoder: json.JSONDecoder) -> Any:
    """
    As C{decoder.decode}, with a step for each item of the arrays that the outermost object has.

    @raise ValueError: it is no JSON. [RecursionError]
    """
    at = _after_space(text, 0)
    if not text.startswith("{", at):
        return decoder.decode(text)
    found: dict[str, Any] = {}
    at = _after_space(text, at + 1)
    more = not text.startswith("}", at)
    while more:
        if not text.startswith('"', at):
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        key, at = decoder.raw_decode(text, at)
        at = _after_space(text, at)
        if not text.startswith(":", at):
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        at = _after_space(text, at + 1)
        found[key], at = _items(text, at, decoder) if text.startswith("[", at) else decoder.raw_decode(text, at)
        at, more = _delimiter(text, at, "}")
    at = _after_space(text, at + 1)
    if at != len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return found


def dumps(value: Mapping[str, Any], encoder: json.JSONEncoder) -> str:
    """
    As C{encoder.encode}, with a step for each few items of arrays, at whatever depth they are in objects.

    @param encoder: one that does not indent.
    """
    if not value:
        return "{}"
    members = (
        f"{encoder.encode(key)}{encoder.key_separator}{_written(member, encoder)}" for key, member in value.items()
    )
    return f"{{{encoder.item_separator.join(members)}}}"


def _written(value: Any, encoder: json.JSONEncoder) -> str:
    if isinstance(value, dict):
        return dumps(value, encoder)
    if isinstance(value, list | tuple) and len(value) > _STEP:
        pieces = (encoder.encode(value[at : at + _STEP])[1:-1] for at in range(0, len(value), _STEP))
        return f"[{encoder.item_separator.join(pieces)}]"
    return encoder.encode(value)


def _items(text: str, at: int, decoder: json.JSONDecoder) -> tuple[list[Any], int]:
    """The array that begins at C{at}, and where it ends."""
    items: list[Any] = []
    at = _after_space(text, at + 1)
    more = not text.startswith("]", at)
    while more:
        item, at = decoder.raw_decode(text, at)
        items.append(item)
        # As _delimiter does, without a call: there may be a hundred thousand.
        match = _delimiter_and_space(text, at)
        if match is not None and match[1]:
            at = match.end()
        else:
            at, more = _delimiter(text, at, "]")
    return items, at + 1


def _delimiter(text: str, at: int, end: str) -> tuple[int, bool]:
    """Where what comes after a value begins, and whether that is another one; else it is C{end}."""
    match = _delimiter_and_space(text, at)
    if match is not None and match[1]:
        return match.end(), True
    if match is None or not text.startswith(end, match.end()):
        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    return match.end(), False


def _after_space(text: str, at: int) -> int:
    match = _space(text, at)
    assert match is not None  # it matches nothing, too
    return match.end()
