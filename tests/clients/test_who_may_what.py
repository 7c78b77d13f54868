"""
One index of an organisation and all who come to it: two users, a reader, a token, a job that has an identity and no
secret, and somebody unknown. With twine, uv and pip each does what he may; what he may not is refused with a word that
helps, and leaves everything as it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from attrs import define

from tests.clients.conftest import publish, running_cheddar
from tests.clients.installers import INSTALLERS, with_login
from tests.clients.publishers import PUBLISHERS, Account, files_of, said
from tests.support.clients import output, run
from tests.support.distributions import make_wheel
from tests.support.issuer import REQUEST_TOKEN, Issuer, issuer
from tests.support.server import PASSWORD, USER, CheddarProcess, ask, basic, free_port, upload_form
from tests.support.store_dump import published, sqlite_content
from tests.upstream.certificates import pem_for

#: Who logs in with a password, and what each is to whom: alice owns C{acme-web} and C{acme-secret}, which is for its
#: readers alone; bob owns C{bob-lib}; carol reads C{acme-secret}.
USERS = {USER: PASSWORD, "bob": "builder", "carol": "reads"}

#: What uv is told by a job of GitHub's.
JOB = {"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN}


def login(who: str) -> dict[str, str]:
    """The header of a user."""
    return {"Authorization": basic(who, USERS[who])}


def words(done: CompletedProcess[str]) -> str:
    """What a tool told its user, however it breaks lines."""
    return " ".join(said(done).split())


def last_words(done: CompletedProcess[str]) -> str:
    """What a tool says in the end."""
    return done.stderr.strip().splitlines()[-1]


@define
class Organisation:
    """
    The index, and what comes to it.

    @ivar secure: its address by https, which is what uv asks with an identity token.
    @ivar token: of alice's, for uploads of C{acme-web} and nothing else.
    """

    cheddar: CheddarProcess
    issuing: Issuer
    folder: Path
    secure: str
    token: str
    _turns: int = 0

    def turn(self) -> Path:
        """A folder of its own for each command."""
        self._turns += 1
        folder = self.folder / str(self._turns)
        folder.mkdir()
        return folder

    def publish(self, client: str, who: str, project: str, version: str) -> CompletedProcess[str]:
        """Publish a wheel and an sdist, by C{twine} or C{uv}."""
        publisher, folder = PUBLISHERS[client], self.turn() / "project"
        publisher.prepare(folder, project, version)
        if who in ("job", "other job"):
            self.issuing.environment = "release" if who == "job" else "test"
            environ = {**JOB, "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.issuing.url}/request-token?api-version=2.0"}
            # Its TLS library takes no certificate that signs itself.
            where = ("--publish-url", f"{self.secure}pypi/", "--allow-insecure-host", "localhost")
            files = map(str, files_of(folder))
            return run(
                *("uv", "publish", *where, "--trusted-publishing", "always", *files),
                home=folder / "home",
                environ=environ,
            )
        login = ("__token__", self.token) if who == "token" else (who, USERS[who])
        return publisher.publish(folder, Account(self.cheddar.url, *login))

    def install(self, client: str, who: str, project: str) -> tuple[CompletedProcess[str], Mapping[str, str]]:
        """@return: what it said, and what is installed then."""
        installer = INSTALLERS[client](self.turn())
        # pip says why it found nothing with this alone.
        installer.environ = {"PIP_VERBOSE": "2"}
        index = f"{self.cheddar.url}simple/"
        if who == "token":
            index = with_login(index, "__token__", self.token)
        elif who != "nobody":
            index = with_login(index, who, USERS[who])
        return installer.install(index, project), installer.installed()

    def content(self) -> Mapping[str, object]:
        """All that only a change alters: files, projects, users, roles and tokens."""
        local = self.cheddar.data_dir / "local"
        files = {str(path): path.read_bytes() for path in local.rglob("*") if path.is_file()}
        rows = published(sqlite_content(self.cheddar.data_dir))
        # What was refused is noted, and when a token was used last.
        return {**files, **{name: rows[name] for name in rows if name not in ("events", "tokens", "sqlite_sequence")}}


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organisation]:
    """An index that takes a login to read, by http and by https."""
    folder = tmp_path_factory.mktemp("organisation")
    certificate, key = pem_for("localhost")
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    port = free_port()
    secure = f"https://localhost:{port}/"
    with issuer() as issuing:
        (folder / "cheddar.toml").write_text(
            'index_url = ""\nread_auth = true\n'
            f'[[publisher]]\nproject = "acme-web"\nkind = "github"\nissuer = "{issuing.url}"\n'
            'repository = "acme/web"\nworkflow = "release.yml"\nenvironment = "release"\n'
        )
        ssl = f"ssl:{port}:interface=127.0.0.1:privateKey={folder}/key.pem:certKey={folder}/cert.pem"
        options = ("--settings", str(folder / "cheddar.toml"), "--listen", ssl)
        with running_cheddar("sqlite", folder, *options, environ={"CHEDDAR_PUBLIC_URL": secure}) as cheddar:
            for name, password in USERS.items():
                if name != USER:
                    cheddar.add_user(name, password)
            publish(cheddar, make_wheel("acme-web", "1.0"), make_wheel("acme-secret", "1.0"))
            given = cheddar.cheddar("role", "grant", "carol", "reader", "acme-secret")
            assert given.returncode == 0, given.stderr
            founded = upload_form(*make_wheel("bob-lib", "0.9"))
            headers = {"Content-Type": founded[1], **login("bob")}
            assert ask(cheddar.port, "POST", "/pypi/", founded[0], headers).status == 200
            made = cheddar.cheddar(*("token", "create", "--user", USER, "--action", "upload", "--project", "acme-web"))
            assert made.returncode == 0, made.stderr
            yield Organisation(cheddar, issuing, folder, secure, made.stdout.strip())


def test_who_may_publishes(organisation: Organisation) -> None:
    """Users what is theirs or new, a token and a job what they are for; the audit log says who it was."""
    for client, who, project, version in (
        ("twine", "bob", "bob-lib", "1.0"),
        ("uv", USER, "acme-web", "1.1"),
        ("twine", "token", "acme-web", "1.2"),
        ("uv", "token", "acme-web", "1.3"),
        ("uv", "job", "acme-web", "1.4"),
    ):
        done = organisation.publish(client, who, project, version)
        assert done.returncode == 0, output(done)
    page = ask(organisation.cheddar.port, "GET", "/simple/acme-web/", headers=login(USER)).body.decode()
    assert all(f"acme_web-1.{minor}.tar.gz" in page for minor in range(1, 5)), page
    told = organisation.cheddar.cheddar("audit", "--project", "acme-web", "--json").stdout
    token_id = organisation.token.split("_")[1]
    for who in ('"who": "github:acme/web"', f'"via": "{token_id}"'):
        assert who in told, told


#: Who may not publish what, and what the tool then says, by whichever way it breaks lines.
REFUSED_TO_PUBLISH = (
    ("twine", "bob", "acme-web", r"403.*bob may not upload to acme-web; it belongs to alice\. Ask an administrator"),
    ("uv", "bob", "acme-web", r"403.*bob may not upload to acme-web; it belongs to alice"),
    ("uv", USER, "bob-lib", r"403.*alice may not upload to bob-lib; it belongs to bob"),
    ("twine", "carol", "acme-secret", r"403.*carol may not upload to acme-secret.*role grant carol maintainer"),
    # Not a word of whose it is to who may not see it: so he is told of a name that nobody has.
    ("uv", "bob", "acme-secret", r"403.*bob may not upload to acme-secret\. Ask an administrator"),
    ("twine", "token", "acme-secret", r"403.*may not upload acme-secret here: it is for upload of acme-web"),
    ("uv", "token", "bob-lib", r"403.*may not upload bob-lib here: it is for upload of acme-web"),
    ("uv", "job", "bob-lib", r"403.*bob-lib.*acme-web"),
    ("uv", "other job", "acme-web", r"environment is not release"),
)


@pytest.mark.parametrize(
    ("client", "who", "project", "told"), REFUSED_TO_PUBLISH, ids=lambda value: value if len(value) < 12 else ""
)
def test_who_may_not_is_told(organisation: Organisation, client: str, who: str, project: str, told: str) -> None:
    """What the tool prints says what is wrong or whom to ask, and there is not a byte more than before."""
    before = organisation.content()
    done = organisation.publish(client, who, project, "9.0")
    assert done.returncode != 0, output(done)
    assert re.search(told, words(done)), output(done)
    assert organisation.content() == before


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_reading(organisation: Organisation, client: str) -> None:
    """
    The project of readers is installed by who has a role there; to other users it is not there, and to nobody is
    anything without a login. A token for uploads reads nothing.
    """
    before = organisation.content()
    for who in ("carol", USER):
        done, there = organisation.install(client, who, "acme-secret")
        assert done.returncode == 0, output(done)
        assert there == {"acme-secret": "1.0"}
    unknown = organisation.install(client, "bob", "no-such-project")[0]
    refused, there = organisation.install(client, "bob", "acme-secret")
    assert refused.returncode != 0
    assert there == {}
    # What it says is what it says of a project that there is not.
    assert re.search("No matching distribution found for acme-secret|acme-secret was not found", words(refused))
    assert last_words(unknown).replace("no-such-project", "acme-secret") == last_words(refused)
    missing = {"pip": r"User for localhost:|401 Error, Credentials not correct", "uv": "401 Unauthorized"}
    beyond = {"pip": "may not read acme-web here: it is for upload of acme-web", "uv": "403 Forbidden"}
    for who, told in (("nobody", missing), ("token", beyond)):
        refused, there = organisation.install(client, who, "acme-web")
        assert refused.returncode != 0, output(refused)
        assert re.search(told[client], words(refused)), output(refused)
        assert there == {}
    assert organisation.content() == before


def test_a_minted_token_is_for_one_project(organisation: Organisation) -> None:
    """What an identity is exchanged for uploads its project with twine too, no other one, and reads nothing."""
    identity = organisation.issuing.token(aud=organisation.secure.split("/")[2], environment="release")
    shown = json.dumps({"token": identity}).encode()
    port = organisation.cheddar.port
    organisation.token, given = ask(port, "POST", "/_/oidc/mint-token", shown).json()["token"], organisation.token
    try:
        assert organisation.publish("twine", "token", "acme-web", "1.5").returncode == 0
        before = organisation.content()
        done = organisation.publish("twine", "token", "bob-lib", "9.0")
        assert re.search("403.*bob-lib.*acme-web", words(done)), output(done)
        assert organisation.install("uv", "token", "acme-web")[0].returncode != 0
        assert organisation.content() == before
    finally:
        organisation.token = given
    again = ask(port, "POST", "/_/oidc/mint-token", shown)
    assert (again.status, again.json()["errors"][0]["code"]) == (422, "invalid-reuse-token")
