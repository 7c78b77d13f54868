"""The text of API tokens, and what stores keep of them."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheddar.errors import StoreUnavailable
from cheddar.formats.token_records import dump_token, load_token
from cheddar.formats.tokens import ALPHABET, ID_LENGTH, PATTERN, SECRET_LENGTH, format_token, parse_token
from tests.support.tokens import MADE, token

ID = "0123456789AB"
SECRET = "abcdefghijklmnopqrstuvwxyz012345"
TOKEN = "chd_0123456789AB_abcdefghijklmnopqrstuvwxyz012345_383Qpa"


def parts(length: int) -> st.SearchStrategy[str]:
    return st.text(ALPHABET, min_size=length, max_size=length)


def test_a_token_is_written_as_ever() -> None:
    """Tokens that were handed out go on being read, by Cheddar and by scanners."""
    assert format_token(ID, SECRET) == TOKEN
    assert parse_token(TOKEN) == (ID, SECRET)


@given(parts(ID_LENGTH), parts(SECRET_LENGTH))
def test_what_is_written_is_read(token_id: str, secret: str) -> None:
    """Every token is found by the pattern, in any text, and comes apart again."""
    text = format_token(token_id, secret)
    assert parse_token(text) == (token_id, secret)
    assert re.findall(PATTERN, f'password = "{text}"\n') == [text]


@given(st.integers(min_value=0, max_value=len(TOKEN) - 1), st.sampled_from(ALPHABET + "_-+/=é \n\0"))
def test_one_wrong_character_is_noticed(where: int, char: str) -> None:
    """A slip of the finger never passes for a token, and the error does not repeat it."""
    wrong = TOKEN[:where] + char + TOKEN[where + 1 :]
    if wrong == TOKEN:
        assert parse_token(wrong) == (ID, SECRET)
        return
    with pytest.raises(ValueError, match="token") as failed:
        parse_token(wrong)
    assert SECRET[4:20] not in str(failed.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "chd_",
        "secret",
        TOKEN[:-1],
        TOKEN + "0",
        TOKEN + "\n",
        f" {TOKEN}",
        TOKEN.upper(),
        TOKEN.replace("chd", "pypi"),
        TOKEN.replace("_", "-"),
        TOKEN[:-6] + "zzzzzz",
        "chd_" + "١" * 12 + TOKEN[16:],
    ],
)
def test_what_is_no_token(text: str) -> None:
    """Only the whole token is one, in ASCII."""
    with pytest.raises(ValueError, match="token"):
        parse_token(text)


@given(st.text())
def test_any_text(text: str) -> None:
    """Whatever is sent as a token is read or refused."""
    try:
        parse_token(text)
    except ValueError:
        return
    assert re.fullmatch(PATTERN, text)


def test_a_damaged_record_is_told() -> None:
    """A store that was changed by hand fails the one login, and shows nobody the digest."""
    line = dump_token(token("ann", digest="d1gest"))
    assert load_token(line, MADE).last_used == MADE
    for wrong in (line[:-5], "{}", "null", line.replace("upload", "upl0ad"), line.replace('"2026', '"x'), "[]"):
        with pytest.raises(StoreUnavailable, match="damaged") as failed:
            load_token(wrong, None)
        assert "d1gest" not in str(failed.value)
        assert failed.value.__cause__ is None


def test_a_token_ends() -> None:
    """To the moment."""
    expires = token("ann").expires
    assert not token("ann").expired(expires - timedelta(microseconds=1))
    assert token("ann").expired(expires)


def test_the_readme_has_the_pattern() -> None:
    """Whoever sets up a scanner finds there what Cheddar writes."""
    assert f"``{PATTERN}``" in (Path(__file__).parents[2] / "README.rst").read_text()
