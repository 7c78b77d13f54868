"""Attestations (PEP 740) by way of real clients: published with the files, read from the pages by others."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from pypi_attestations import Provenance
from pypi_simple import PyPISimple

from tests.support.attestations import attest
from tests.support.clients import output, run
from tests.support.distributions import make_sdist, make_wheel
from tests.support.server import PASSWORD, USER, CheddarProcess

UPLOADING = {
    "twine": ("upload", "--non-interactive", "--disable-progress-bar", "--attestations", "--repository-url"),
    # It takes along whatever attestations lie beside a file.
    "uv": ("publish", "--publish-url"),
}


def publish(client: str, cheddar: CheddarProcess, folder: Path) -> CompletedProcess[str]:
    """Publish all that is in C{folder}, the attestations among it."""
    paths = map(str, sorted(folder.iterdir()))
    where = (f"{cheddar.url}pypi/", "-u", USER, "-p", PASSWORD)
    return run(client, *UPLOADING[client], *where, *paths, home=folder.parent / "home")


@pytest.mark.client("publishes files with their attestations")
@pytest.mark.conforms("PEP 740", "Upload: attestations of the form of attestation objects are taken")
@pytest.mark.parametrize("client", UPLOADING)
def test_published_with_attestations(cheddar: CheddarProcess, tmp_path: Path, client: str) -> None:
    """What lies beside each file as .publish.attestation goes along, and another client finds and reads it."""
    folder = tmp_path / "dist"
    folder.mkdir()
    name = f"attested-by-{client}"
    made = {}
    for filename, content in (make_wheel(name, "1.0"), make_sdist(name, "1.0")):
        made[filename] = attest(filename, content)
        (folder / filename).write_bytes(content)
        (folder / f"{filename}.publish.attestation").write_text(json.dumps(made[filename]))
    done = publish(client, cheddar, folder)
    assert done.returncode == 0, output(done)
    with PyPISimple(f"{cheddar.url}simple/") as reader:
        packages = reader.get_project_page(name).packages
        assert {package.filename for package in packages} == set(made)
        for package in packages:
            told = package.provenance_url
            assert told is not None
            assert told.startswith(cheddar.url)
            document = reader.get_provenance(package)
            assert document["attestation_bundles"][0]["attestations"] == [made[package.filename]]
            Provenance.model_validate(document)


@pytest.mark.client("shows why attestations were refused")
@pytest.mark.parametrize("client", UPLOADING)
def test_refused_attestations(cheddar: CheddarProcess, tmp_path: Path, client: str) -> None:
    """Attestations of other bytes: nothing is published, and the client shows the reason."""
    folder = tmp_path / "dist"
    folder.mkdir()
    filename, content = make_wheel("misattested", "1.0")
    (folder / filename).write_bytes(content)
    (folder / f"{filename}.publish.attestation").write_text(json.dumps(attest(filename, b"other bytes")))
    done = publish(client, cheddar, folder)
    assert done.returncode != 0
    assert "SHA-256" in output(done), output(done)
