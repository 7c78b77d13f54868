"""REDIS_URL: what is understood, and what is said where it is not."""

from __future__ import annotations

import pytest

from cheddar.errors import SettingsError
from cheddar.store.redis import RedisStore
from cheddar.store.redis.address import Address, parse_address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", Address(False, "cache", 6379, "", None, None, None)),
        ("redis://cache:7000/", Address(False, "cache", 7000, "", None, None, None)),
        ("redis://cache/0", Address(False, "cache", 6379, "", 0, None, None)),
        ("redis://cache:7000/12", Address(False, "cache", 7000, "", 12, None, None)),
        ("redis://:p%40ss@cache", Address(False, "cache", 6379, "", None, None, "p@ss")),
        ("redis://ann:007@cache", Address(False, "cache", 6379, "", None, "ann", "007")),
        ("rediss://ann:x@[::1]:7000/1", Address(True, "::1", 7000, "", 1, "ann", "x")),
        ("unix:///run/redis.sock", Address(False, "", 0, "/run/redis.sock", None, None, None)),
        ("unix://:x@/run/redis.sock", Address(False, "", 0, "/run/redis.sock", None, None, "x")),
    ],
)
def test_understood(url: str, expected: Address) -> None:
    """Each documented form is read; a part that is not named stays unset."""
    assert parse_address(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cache",
        "cache:6379",
        "http://cache",
        "redis://",
        "redis:///1",
        "redis://cache:port",
        "redis://cache:99999",
        "redis://cache/one",
        "redis://cache/1/2",
        "redis://cache/-1",
        "redis://cache/²",
        "redis://ann@cache",
        "redis://cache?db=1",
        "redis://:pass#word@cache",
        "unix://run/redis.sock",
        "unix:///",
        "redis://[::1",
    ],
)
def test_refused(url: str, reactor: object) -> None:
    """An address that cannot be read stops the start with one line that names the setting and the forms."""
    with pytest.raises(SettingsError, match=r"REDIS_URL.*redis://\[user") as caught:
        RedisStore(url, 50, reactor)
    assert "\n" not in str(caught.value)


def test_password_is_not_shown(reactor: object) -> None:
    """Neither the start line, nor an error, nor the object itself shows the password."""
    store = RedisStore("rediss://ann:hidden@cache/3", 50, reactor)
    assert store.description == "Redis at rediss://cache:6379/3"
    assert "hidden" not in f"{store!r} {parse_address('redis://ann:hidden@cache')!r}"
    with pytest.raises(SettingsError) as caught:
        parse_address("redis://ann:hidden@cache/x")
    assert "hidden" not in str(caught.value)
