"""Which representation each client gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheddar.formats.negotiation import Choice, choose, choose_simple, wants_html, wants_legacy_json

J = "application/vnd.pypi.simple.v1+json"
H = "application/vnd.pypi.simple.v1+html"
PIP = f"{J}, {H}; q=0.1, text/html; q=0.01"
UV = f"{J}, {H};q=0.2, text/html;q=0.01"
POETRY = f"{J}, */*;q=0.1"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "choice"),
    [
        ([], Choice.HTML),
        ([""], Choice.HTML),
        ([" , "], Choice.HTML),
        (["*/*"], Choice.HTML),
        ([J], Choice.JSON),
        ([H], Choice.HTML_V1),
        (["text/html"], Choice.HTML),
        (["application/vnd.pypi.simple.latest+json"], Choice.JSON),
        (["application/vnd.pypi.simple.latest+html"], Choice.HTML_V1),
        ([PIP], Choice.JSON),
        ([UV], Choice.JSON),
        ([POETRY], Choice.JSON),
        ([BROWSER], Choice.HTML),
        ([f"application/vnd.pyx.simple.v1+msgpack, {PIP}"], Choice.JSON),
        ([f"{J};q=0.1, text/html;q=0.9"], Choice.HTML),
        ([f"{J};q=0, */*"], Choice.HTML),
        ([f"text/html;q=0, {J};q=0"], None),
        (["text/html;q=0, */*;q=0.5"], Choice.JSON),
        (["*/*;q=0"], None),
        (["application/vnd.pypi.simple.v2+json"], None),
        (["image/png"], None),
        (["application/json"], Choice.LEGACY_JSON),
        (["application/json, text/plain, */*"], Choice.LEGACY_JSON),
        ([f"application/json, {J}"], Choice.JSON),
        ([f"application/vnd.pypi.simple.v2+json, {J}"], Choice.JSON),
        ([f"{J}, {H}, text/html"], Choice.JSON),
        ([f"text/html, {J}"], Choice.JSON),
        ([";;;q=,"], Choice.HTML),
        (["nonsense"], Choice.HTML),
        (["text/html;q=0.1", J], Choice.JSON),
        ([f"{J.upper()};Q=0.5, text/html;Q=0.6"], Choice.HTML),
        (["text/*"], Choice.HTML),
        (["application/*"], Choice.JSON),
        (["text/html;charset=utf-8"], Choice.HTML),
        ([f"{J};v=1 ; q=0.3 , text/html;q=0.2"], Choice.JSON),
        ([f"{J};q=2, text/html;q=0.2"], Choice.HTML),
        (['text/html;x="'], Choice.HTML),
    ],
)
def test_accept(accept: list[str], choice: Choice | None) -> None:
    """Each client gets what it wants most; who takes anything gets HTML, and nobody gets what it refuses."""
    assert choose_simple(accept) is choice


@pytest.mark.parametrize(
    ("parameter", "choice"),
    [
        (J, Choice.JSON),
        (J.replace("+", " "), Choice.JSON),
        (H, Choice.HTML_V1),
        ("text/html", Choice.HTML),
        ("application/vnd.pypi.simple.latest+json", Choice.JSON),
        ("application/json", Choice.LEGACY_JSON),
        ("foo", Choice.HTML_V1),
        ("", Choice.HTML_V1),
    ],
)
def test_format_parameter(parameter: str, choice: Choice) -> None:
    """C{?format=} beats C{Accept}, with its plus sign encoded or not; an unknown one leaves it to C{Accept}."""
    assert choose_simple([H], parameter) is choice


def test_content_types() -> None:
    """The types are exact: clients compare them. Only plain HTML says its charset."""
    assert [choice.content_type for choice in Choice] == [J, H, "text/html; charset=utf-8", "application/json"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([BROWSER], True),
        (["text/html"], True),
        (["application/xhtml+xml, application/json;q=0.9"], True),
        ([], False),
        (["*/*"], False),
        ([PIP], False),
        ([POETRY], False),
        (["application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7"], False),
        (["text/html;q=0"], False),
        (["text/*"], False),
    ],
)
def test_wants_html(accept: list[str], expected: bool) -> None:
    """Browsers get pages; tools do not, though some name HTML as a last resort."""
    assert wants_html(accept) is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (["application/json"], True),
        (["application/json;charset=utf-8"], True),
        (["application/json, text/html"], True),
        (["text/html, application/json"], False),
        (["text/html;q=0.5, application/json"], True),
        (["application/json;q=0.5, application/xhtml+xml"], False),
        (["application/json;q=0"], False),
        (["*/*"], False),
        ([], False),
        ([PIP], False),
    ],
)
def test_wants_legacy_json(accept: list[str], expected: bool) -> None:
    """The original's JSON is for those whom the original would give it."""
    assert wants_legacy_json(accept) is expected


@pytest.mark.parametrize(
    ("accept", "choice"),
    [
        (None, "text/html"),
        ([], "text/html"),
        (["application/problem+json, */*"], "application/problem+json"),
        (["*/*;q=0.5, application/problem+json;q=0.4"], "text/html"),
        (["image/png"], None),
    ],
)
def test_choose(accept: list[str] | None, choice: str | None) -> None:
    """Among any offers: the most wanted, then the one named, then the first."""
    assert choose(accept, ["text/html", "application/problem+json"]) == choice


@given(
    st.lists(st.text(alphabet=f'{J}/*;,q=.01 "\\\t\x00é', max_size=60), max_size=3), st.none() | st.text(max_size=20)
)
def test_any_header(accept: list[str], parameter: str | None) -> None:
    """No header makes it fail."""
    assert choose_simple(accept, parameter) in (None, *Choice)
    assert wants_html(accept) in (True, False)
    assert wants_legacy_json(accept) in (True, False)
