"""Trusted publishing with a real client: uv in a job of GitHub's, which has an identity and no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define

from tests.support.clients import output, run
from tests.support.distributions import make_wheel
from tests.support.issuer import REQUEST_TOKEN, Issuer, issuer
from tests.support.server import CheddarProcess, free_port
from tests.upstream.certificates import pem_for


@define
class Publishing:
    """A Cheddar that trusts one workflow, and what a job of it needs."""

    cheddar: CheddarProcess
    issuing: Issuer
    folder: Path
    url: str

    def publish(self, project: str, home: str) -> str:
        """What uv says of publishing a wheel of C{project}, without a password."""
        dist = self.folder / home
        dist.mkdir()
        filename, content = make_wheel(project, "1.0")
        (dist / filename).write_bytes(content)
        environ = {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.issuing.url}/request-token?api-version=2.0",
        }
        command = ("publish", "--publish-url", f"{self.url}pypi/", "--trusted-publishing", "always")
        # Its TLS library takes no certificate that signs itself.
        command += ("--allow-insecure-host", "localhost")
        done = run("uv", *command, str(dist / filename), home=dist / "home", environ=environ)
        return output(done)


@pytest.fixture(scope="module")
def publishing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publishing]:
    """uv asks https only."""
    folder = tmp_path_factory.mktemp("publishing")
    certificate, key = pem_for("localhost")
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    port = free_port()
    url = f"https://localhost:{port}/"
    with issuer() as issuing:
        (folder / "cheddar.toml").write_text(
            f'index_url = ""\npublic_url = "{url}"\n[[publisher]]\nproject = "acme-web"\nkind = "github"\n'
            f'issuer = "{issuing.url}"\nrepository = "acme/web"\nworkflow = "release.yml"\nenvironment = "release"\n'
        )
        ssl = f"ssl:{port}:interface=127.0.0.1:privateKey={folder}/key.pem:certKey={folder}/cert.pem"
        options = ("--settings", str(folder / "cheddar.toml"), "--listen", ssl)
        environ = {"CHEDDAR_PUBLIC_URL": url}
        cheddar = CheddarProcess(folder / "data", options=options, environ=environ).start()
        yield Publishing(cheddar, issuing, folder, url)
        cheddar.stop()


def test_uv_publishes_without_a_secret(publishing: Publishing) -> None:
    """The job's identity is enough for its project, and the audit log says whose it was."""
    said = publishing.publish("acme-web", "first")
    assert said.startswith("exit 0"), said
    events = [json.loads(line) for line in (publishing.cheddar.data_dir / "audit.jsonl").read_text().splitlines()]
    assert {(event["who"], event["project"]) for event in events if event["action"] == "upload"} == {
        ("github:acme/web", "acme-web")
    }


def test_another_project_is_refused(publishing: Publishing) -> None:
    """uv shows why."""
    said = publishing.publish("acme-other", "other")
    assert not said.startswith("exit 0")
    assert "acme-other" in said
    assert "acme-web" in said, said


def test_another_workflow_is_refused(publishing: Publishing) -> None:
    """uv shows which claim is not as the settings have it."""
    publishing.issuing.environment = "test"
    said = publishing.publish("acme-web", "workflow")
    publishing.issuing.environment = "release"
    assert not said.startswith("exit 0")
    assert "environment is not release" in said, said
