"""What a token is for."""

from __future__ import annotations

import pytest

from cheddar.model import Action, Identity, Scope
from tests.support.tokens import token

READ, UPLOAD, YANK, DELETE = Action.READ, Action.UPLOAD, Action.YANK, Action.DELETE
ACME = ("acme-*", "tool")


@pytest.mark.parametrize(
    ("scope", "asked", "admitted"),
    [
        (Scope(frozenset({READ})), (READ, "local", "flask"), True),
        (Scope(frozenset({READ})), (READ, "combined", None), True),
        (Scope(frozenset({READ})), (UPLOAD, "local", "flask"), False),
        (Scope(frozenset({UPLOAD})), (READ, "local", "flask"), False),
        (Scope(frozenset({UPLOAD, YANK})), (DELETE, "local", "flask"), False),
        (Scope(frozenset()), (READ, "local", None), False),
        # The projects.
        (Scope(frozenset({UPLOAD}), ACME), (UPLOAD, "local", "acme-web"), True),
        (Scope(frozenset({UPLOAD}), ACME), (UPLOAD, "local", "Acme_Web"), True),
        (Scope(frozenset({UPLOAD}), ACME), (UPLOAD, "local", "acme"), True),
        (Scope(frozenset({UPLOAD}), ACME), (UPLOAD, "local", "tool"), True),
        (Scope(frozenset({UPLOAD}), ACME), (UPLOAD, "local", "tools"), False),
        (Scope(frozenset({UPLOAD}), ACME), (UPLOAD, "local", "acmeweb"), False),
        (Scope(frozenset({UPLOAD}), ACME), (UPLOAD, "local", ""), False),
        # The form will say which; what is for all projects is not for some.
        (Scope(frozenset({UPLOAD}), ACME), (UPLOAD, "local", None), True),
        (Scope(frozenset({READ}), ACME), (READ, "combined", None), False),
        (Scope(frozenset(Action), ACME), (Action.ADMIN, "local", None), False),
        (Scope(frozenset(Action)), (Action.ADMIN, "local", None), True),
        # The indexes.
        (Scope(frozenset({READ}), (), ("local",)), (READ, "local", "flask"), True),
        (Scope(frozenset({READ}), (), ("local",)), (READ, "remote", "flask"), False),
        (Scope(frozenset({READ}), (), ("local",)), (READ, "combined", "flask"), False),
        (Scope(frozenset({READ}), (), ("combined",)), (READ, "remote", "flask"), True),
        (Scope(frozenset({UPLOAD}), ACME, ("remote",)), (UPLOAD, "local", "tool"), False),
        (Scope(frozenset({UPLOAD}), ACME, ("local",)), (UPLOAD, "local", "flask"), False),
    ],
)
def test_a_scope_admits_what_it_names(scope: Scope, asked: tuple[Action, str, str | None], admitted: bool) -> None:
    """Action, index and project must all be named, or not be limited; and whoever is refused is told by what."""
    assert scope.admits(*asked) is admitted
    told = Identity("ann", "abc", scope).beyond_scope(*asked)
    assert bool(told) is not admitted
    assert admitted or (f"may not {asked[0].value}" in told and str(scope) in told)


def test_who_came_by_no_token_has_no_scope() -> None:
    """A password is for everything that its user may."""
    for action in Action:
        assert Identity("ann").beyond_scope(action, "local", "flask") == ""


def test_a_refusal_repeats_no_odd_name() -> None:
    """What is no project's name is told to nobody, and written in no header and no log."""
    somebody = Identity("ann", "abc", Scope(frozenset({UPLOAD}), ACME))
    for name in ("a\r\nSet-Cookie: x", "../x", "a b", "naïve", "x" * 500):
        told = somebody.beyond_scope(UPLOAD, "local", name)
        assert told.startswith("The token abc of ann may not upload here: it is for upload of acme-*, tool.")
    assert "may not upload a-b here" in somebody.beyond_scope(UPLOAD, "local", "A_b")


def test_scopes_in_words() -> None:
    """As refusals and lists show them."""
    assert str(Scope(frozenset({UPLOAD, READ}))) == "read, upload"
    assert str(Scope(frozenset({UPLOAD}), ACME, ("local",))) == "upload of acme-*, tool at local"
    assert str(Identity("ann", "abc", Scope(frozenset({UPLOAD})))) == "ann (token abc)"
    assert str(Identity("ann")) == "ann"


def test_no_digest_is_shown() -> None:
    """What logs and tracebacks show of a token is nothing that could be looked for in a store."""
    assert "d1gest" not in repr(token("ann", digest="d1gest"))
