"""
Names of projects and files: what is allowed, and how it is normalized.

Every name that becomes part of a path, a key or a page goes through this module first.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from packaging.utils import canonicalize_name

_PROJECT = re.compile(r"\A(?:[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9])\Z", re.IGNORECASE | re.ASCII)
_FILENAME = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9._+!-]*\Z", re.ASCII)
_USER = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}\Z", re.ASCII)
_DIGEST = re.compile(r"\A[0-9a-z]{1,16}-[0-9a-f]{16,128}\Z|\A[0-9a-f]{64}\Z")

#: The indexes there are, as addresses have them.
INDEXES = ("local", "remote", "combined")

MAX_PROJECT_NAME = 200
MAX_FILENAME = 200

#: What L{normalize_pattern} reads, in words for who wrote something else.
PATTERNS = "a project name, or the beginning of names with * behind it: acme, acme-* (acme too) or acme*"


def is_project_name(name: str) -> bool:
    """
    Whether C{name} is a valid project name.

    Source: packaging.python.org, Names and normalization, "Name format".
    """
    return len(name) <= MAX_PROJECT_NAME and _PROJECT.match(name) is not None


def normalize(name: str) -> str:
    """
    The normalized form of a project name: lower case, runs of C{-_.} as one dash.

    Source: packaging.python.org, Names and normalization, "Name normalization" (PEP 503).
    """
    return str(canonicalize_name(name))


def normalize_pattern(text: str) -> str:
    """
    The normalized form of a pattern, which stands for project names: C{acme} for one, C{acme-*} for a namespace in
    the sense of PEP 752 (section "Semantics"), which is C{acme} and all that begins with C{acme-}, and C{acme*} for
    all that begins with C{acme}.

    @raise ValueError: it is none; the message says what would be one.
    """
    begin = text.removesuffix("*")
    root = begin.rstrip("-_.") if begin != text else begin
    if not is_project_name(root):
        raise ValueError(PATTERNS)
    end = "" if begin == text else "*" if begin == root else "-*"
    return normalize(root) + end


def is_of_pattern(name: str, pattern: str) -> bool:
    """Whether a normalized pattern stands for a normalized name, among others."""
    begin = pattern.removesuffix("*")
    return name == pattern or (begin != pattern and (name.startswith(begin) or f"{name}-" == begin))


def names_and_beginnings(patterns: Collection[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """
    For many names at once: a (normalized) name is of one of the patterns where it is in the set, or begins as C{str}'s
    C{startswith} says of the tuple.
    """
    names = frozenset(item.rstrip("-*") for item in patterns if item.endswith("-*") or not item.endswith("*"))
    return names, tuple(item[:-1] for item in patterns if item.endswith("*"))


def patterns_meet(one: str, other: str) -> bool:
    """Whether there are names that both (normalized) patterns stand for."""
    return is_of_pattern(one.rstrip("-*"), other) or is_of_pattern(other.rstrip("-*"), one)


def is_filename(filename: str) -> bool:
    """
    Whether C{filename} may name a distribution file: ASCII letters, digits and C{._+!-}, no leading dot or
    dash, at most L{MAX_FILENAME} characters. Everything a path could be led astray with is outside this.
    """
    return (
        len(filename) <= MAX_FILENAME
        and _FILENAME.match(filename) is not None
        and not filename.endswith(".")
        and ".." not in filename
    )


def is_user_name(name: str) -> bool:
    """Whether C{name} may name a user: it becomes part of a store's key."""
    return _USER.match(name) is not None


def is_digest_segment(segment: str) -> bool:
    """Whether C{segment} may be the digest in a file's URL: a bare SHA-256, or C{<algorithm>-<hex>}."""
    return _DIGEST.match(segment) is not None
