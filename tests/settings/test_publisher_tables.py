"""Tables [[publisher]]: what they may say, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cheddar.errors import SettingsError
from cheddar.settings import Settings, describe, load
from cheddar.settings.publishers import ISSUERS, read_publishers

GITHUB = {"project": "Acme_Web", "kind": "github", "repository": "acme/web", "workflow": "release.yml"}


def test_a_file(tmp_path: Path) -> None:
    """Publishers stand in the settings file, and are shown for what they are."""
    file = tmp_path / "cheddar.toml"
    file.write_text(
        'oidc_audience = "packages"\n[[publisher]]\nproject = "Acme_Web"\nkind = "github"\nrepository = "acme/web"\n'
        'workflow = "release.yml"\n[publisher.claims]\nref_protected = "true"\n'
    )
    loaded = load(file=file, environ={}, options={})
    (publisher,) = loaded.settings.publisher
    assert (publisher.project, publisher.issuer) == ("acme-web", ISSUERS["github"])
    assert publisher.claims == {"ref_protected": "true"}
    shown = {name: value for name, value, _ in describe(loaded.settings, loaded.origins)}
    assert (shown["PUBLISHER"], shown["OIDC_AUDIENCE"]) == ("acme-web=github:acme/web", "packages")


def test_the_audience() -> None:
    """Unless said it is the host that users see."""
    assert Settings(public_url="https://packages.example:8443/x/").audience == "packages.example:8443"


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({**GITHUB, "kind": "jenkins"}, "kind must be one of github, gitlab, google, kubernetes, oidc"),
        ({**GITHUB, "project": "acme-*"}, "project must be the name of one project"),
        ({key: value for key, value in GITHUB.items() if key != "workflow"}, "workflow is missing"),
        ({key: value for key, value in GITHUB.items() if key != "project"}, "project is missing"),
        ({**GITHUB, "subject": "x"}, "unknown key subject; for github there are"),
        ({**GITHUB, "repository": ""}, "repository must be a string"),
        ({**GITHUB, "environment": 3}, "environment must be a string"),
        ({**GITHUB, "claims": {"a": 1}}, "claims must be a table of strings"),
        ({**GITHUB, "jwks_file": "a", "jwks_url": "https://a/"}, "jwks_file and jwks_url"),
        ({**GITHUB, "issuer": "ftp://a/"}, "issuer must be a whole address"),
        ({**GITHUB, "jwks_url": "https://me:secret@a/"}, "jwks_url must be a whole address"),
        ({"project": "a", "kind": "oidc", "subject": "s"}, "issuer is missing"),
        (
            {"project": "a", "kind": "kubernetes", "issuer": "https://k/", "namespace": "n"},
            "service_account is missing",
        ),
    ],
)
def test_mistakes(table: dict[str, Any], complaint: str) -> None:
    """Each is named with its place, and no secret is repeated."""
    with pytest.raises(SettingsError, match=r"f: \[\[publisher\]\] 1") as raised:
        read_publishers("f", [table])
    assert complaint in str(raised.value)
    assert "secret" not in str(raised.value)


def test_one_issuer_has_its_keys_in_one_place() -> None:
    """Two publishers of an issuer cannot trust different keys for it."""
    with pytest.raises(SettingsError, match="differ in where its keys are"):
        read_publishers("f", [GITHUB, {**GITHUB, "project": "b", "jwks_file": "keys.json"}])
    assert len(read_publishers("f", [GITHUB, {**GITHUB, "project": "b"}])) == 2
    with pytest.raises(SettingsError, match=r"begin each publisher with a line \[\[publisher\]\]"):
        read_publishers("f", {"project": "a"})
