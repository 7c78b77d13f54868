"""
Secrets are nowhere but where their owner put them, and nobody but Cheddar writes lines into its log: a real process,
with a canary in every place that takes a secret, asked for everything, in good days and in bad.
"""

from __future__ import annotations

import base64
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.threads import deferToThread

from tests.clients.test_publish import wait_until_ready
from tests.support.distributions import make_wheel
from tests.support.proxy import ForwardingProxy
from tests.support.redis import RedisServer, tell
from tests.support.server import BIN, JSON, CheddarProcess, ask, basic, upload_form
from tests.support.store_dump import redis_content, sqlite_content
from tests.support.upstream import EvilUpstream
from tests.web.test_connections import request, talk

#: Every secret there is, by where it is put. What takes another one belongs in here, and into L{Everything}.
CANARIES = {
    "user": "canary-user-4f1",
    "seed": "canary-seed-8a2",
    "wrong": "canary-wrong-77c",
    "bearer": "canary-bearer-19d",
    "garbage": "canary-garbage-e05",
    "query": "canary-query-b3b",
    "referer": "canary-referer-5c5",
    "cookie": "canary-cookie-0d9",
    "proxy-authorization": "canary-proxyauth-6e6",
    "address": "canary-address-f2a",
    "field": "canary-field-a1c",
    "url": "canary-url-3d3",
    "file": "canary-file-9b8",
    "environment": "canary-env-c47",
    "netrc": "canary-netrc-d58",
    "proxy": "canary-proxy-2e2",
    "redis": "canary-redis-7a7",
    "damaged": "canary-damaged-0c6",
}

HOSTILE = "\n2026-11-25T00:00:00+0000 [cheddar#info] admin logged in\x1b[2J\x9b31m\u202e\u2028"


def forms(name: str, secret: str) -> dict[str, bytes]:
    """A secret as it may be written: plain, within an address, and within Basic credentials of any length before it."""
    found = {"plain": secret.encode(), "quoted": quote(secret, safe="").encode()}
    for before in range(3):
        encoded = base64.b64encode(b"x" * before + secret.encode()).rstrip(b"=")
        # What stands at both ends depends on what is around it.
        found[f"base64 {before}"] = encoded[4:-4]
    return {f"{name}, {form}": value for form, value in found.items()}


def leaks(said: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Which secrets are in what was said, and where."""
    wanted = {form: value for name, secret in CANARIES.items() for form, value in forms(name, secret).items()}
    return [(form, place) for place, text in said.items() for form, value in wanted.items() if value in text]


@define(eq=False)
class Everything:
    """
    A Cheddar with a canary in every place.

    @ivar said: what was seen of it, by where.
    """

    process: CheddarProcess
    upstreams: Mapping[str, EvilUpstream]
    redis: RedisServer | None
    said: dict[str, bytes] = field(factory=dict)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> int:
        """Ask, and keep the answer. @return: its status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = ask(self.process.port, method, path, body, named)
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self.said[f"{len(self.said)} {method} {path.partition('?')[0]}"] = (
            f"{answer.status} {answer.reason}\n{head}\n\n".encode() + answer.body
        )
        return answer.status

    def raw(self, data: bytes) -> None:
        """The same by a raw socket."""
        self.said[f"{len(self.said)} raw"] = talk(self.process.port, data)

    def command(self, *arguments: str, stdin: str = "") -> None:
        """Run C{cheddar}, and keep what it says."""
        done = self.process.cheddar(*arguments, stdin=stdin)
        self.said[f"{len(self.said)} cheddar {' '.join(arguments)}"] = (done.stdout + done.stderr).encode()

    def collect(self) -> Mapping[str, bytes]:
        """What was said, what is stored, and what others see of the process."""
        said = {**self.said, "log": self.process.log.read_bytes()}
        for path in self.process.data_dir.rglob("*"):
            if path.is_file():
                said[f"file {path.name}"] = path.read_bytes()
        said["arguments"] = Path(f"/proc/{self.process.pid}/cmdline").read_bytes()
        stored = (
            redis_content(self.redis.port, CANARIES["redis"]) if self.redis else sqlite_content(self.process.data_dir)
        )
        return {**said, **{f"stored {name}": value for name, value in stored.items()}}


SOURCES = ("url", "file", "environment", "netrc", "proxy")


@pytest_twisted.async_yield_fixture(params=["sqlite", "redis"])
async def everything(request: Any, reactor: Any, tmp_path: Path) -> AsyncIterator[Everything]:
    """The process, the upstreams, a proxy and the store."""
    upstreams = {}
    for name in SOURCES:
        upstreams[name] = EvilUpstream(reactor)
        upstreams[name].add_file(f"{name}-thing", *make_wheel(f"{name}-thing", "1.0"))
        await upstreams[name].start()
    proxy = ForwardingProxy(reactor, login=basic("robot", CANARIES["proxy"]).encode())
    await proxy.start()
    redis = None
    environ = {
        "SECRET_OF_UPSTREAM": CANARIES["environment"],
        "NETRC": str(tmp_path / "netrc"),
        "CHEDDAR_SETTINGS": str(tmp_path / "cheddar.toml"),
    }
    if request.param == "redis":
        (tmp_path / "redis").mkdir()
        redis = RedisServer(tmp_path / "redis", "--requirepass", CANARIES["redis"])
        await deferToThread(redis.start)
        environ["CHEDDAR_ACCESS_LOG"] = "json"
        environ["CHEDDAR_REDIS_URL"] = f"redis://:{CANARIES['redis']}@127.0.0.1:{redis.port}"
        tell(redis.port, "SET", "cheddar.user.seed", CANARIES["seed"], password=CANARIES["redis"])
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login robot password {CANARIES['netrc']}\n")
    (tmp_path / "netrc").chmod(0o600)
    (tmp_path / "password").write_text(CANARIES["file"] + "\n")
    with_login = upstreams["url"].url.replace("://", f"://robot:{CANARIES['url']}@")
    login = {
        "url": "",
        "file": f'username = "robot"\npassword_file = "{tmp_path / "password"}"',
        "environment": 'username = "robot"\npassword_env = "SECRET_OF_UPSTREAM"',
        "netrc": "netrc = true",
        "proxy": f'proxy = "http://robot:{CANARIES["proxy"]}@{proxy.address}"',
    }
    (tmp_path / "cheddar.toml").write_text(
        "VERSIONS_SHORT_TTL = 1\nGET_TIMEOUT = 2\n"
        + "".join(
            f'[[upstream]]\nname = "{name}"\nurl = "{with_login if name == "url" else upstreams[name].url}"\n'
            f'projects = ["{name}-*"]\n{login[name]}\n'
            for name in SOURCES
        )
    )
    process = CheddarProcess(tmp_path / "data", environ=environ)
    await deferToThread(process.add_user, "alice", CANARIES["user"])
    await deferToThread(process.start)
    yield Everything(process, upstreams, redis)
    await deferToThread(process.stop)
    for upstream in upstreams.values():
        await upstream.stop()
    await proxy.stop()
    if redis is not None:
        redis.kill()


def good_days(here: Everything) -> None:
    """All that is asked for with right and wrong secrets."""
    login = basic("alice", CANARIES["user"])
    body, content_type = upload_form(*make_wheel("demo", "1.0"), {"name": "demo", "secret": CANARIES["field"]})
    assert here.ask("POST", "/pypi/", body, Authorization=login, Content_Type=content_type) == 200
    if here.redis is not None:
        here.command("role", "grant", "seed", "maintainer", "demo")
        assert here.ask("PUT", "/simple/demo/1.0/yanked", b"x", Authorization=basic("seed", CANARIES["seed"])) == 200
    for name in SOURCES:
        assert here.ask("GET", f"/simple/{name}-thing/", Accept=JSON) == 200, name
        path = f"/remote/files/{name}-thing/"
        assert path[1:] in here.said[max(here.said, key=lambda key: int(key.split()[0]))].decode().replace("../", "")
    secret = CANARIES["query"]
    for authorization, status in (
        (basic("alice", CANARIES["wrong"]), 401),
        (basic(CANARIES["wrong"], "x"), 401),
        (f"Bearer {CANARIES['bearer']}", 401),
        (f"Basic {CANARIES['garbage']}", 401),
        (f"Digest username={CANARIES['garbage']}", 401),
        ("Basic " + base64.b64encode(CANARIES["garbage"].encode()).decode(), 401),
    ):
        for method, path in (("POST", "/pypi/"), ("DELETE", "/simple/demo/1.0"), ("PUT", "/simple/demo/1.0/yanked")):
            assert here.ask(method, path, body, Authorization=authorization, Content_Type=content_type) == status
    for path in ("/", "/simple/", "/simple/demo/", "/nothing", "/simple/%2f", "/pypi/", "/metrics", "/health/ready"):
        for accept in ("text/html", JSON, "*/*"):
            here.ask(
                *("GET", f"{path}?token={secret}&password={secret}"),
                Accept=accept,
                Authorization=login,
                Cookie=f"session={CANARIES['cookie']}",
                Referer=f"https://robot:{CANARIES['referer']}@other.example/?t={CANARIES['referer']}",
                Proxy_Authorization=basic("robot", CANARIES["proxy-authorization"]),
            )
    address = CANARIES["address"]
    here.raw(request("GET", f"http://robot:{address}@x/simple/", Connection="close"))
    here.raw(request("GET", f"robot:{address}@x", Connection="close"))
    here.raw(request("GET", "/simple/", Host=f"robot:{address}@x", Connection="close"))
    here.raw(request("GET", "/simple/", Connection="close")[:-2] + f"Authorization: {address}\x00\r\n\r\n".encode())
    here.ask("GET", f"/remote/x-1.0.tar.gz?base=http://robot:{address}@127.0.0.1/")


def bad_days(here: Everything) -> None:
    """The same while upstreams and the store fail."""
    faults: tuple[dict[str, Any], ...] = (
        {"status": 401},
        {"status": 500, "body": b"no"},
        {"mute": "reset"},
        {"status": 302, "redirect_to": f"http://robot:{CANARIES['address']}@127.0.0.1:1/"},
        {"status": 200, "body": b"garbage"},
    )
    for name, upstream in here.upstreams.items():
        for number, fault in enumerate(faults):
            upstream.misbehave(f"/simple/{name}-none-{number}/", **fault)
            assert here.ask("GET", f"/simple/{name}-none-{number}/", Accept="text/html") >= 500
    login = basic("alice", CANARIES["user"])
    if here.redis is not None:
        # What is damaged is said in the log, with what it is. It is of a project that nobody has asked for: what was
        # read before is remembered.
        name, wheel = make_wheel("damaged", "1.0")
        body, content_type = upload_form(name, wheel)
        assert here.ask("POST", "/pypi/", body, Authorization=login, Content_Type=content_type) == 200
        tell(here.redis.port, "HSET", "cheddar.2.files.damaged", name, "no record", password=CANARIES["redis"])
        for path in ("/simple/damaged/", f"/simple/damaged/?x={CANARIES['query']}"):
            assert here.ask("GET", path, Authorization=login, Accept="text/html") == 503
    for state in ("/metrics", "/health/ready", "/health/live"):
        here.ask("GET", state)
    if here.redis is not None:
        here.redis.stop()
        here.ask("GET", "/health/ready", Authorization=login)
        here.ask("DELETE", "/simple/demo/1.0", Authorization=login)
        here.redis.cont()
        wait_until_ready(here.process)


def unforeseen(here: Everything) -> None:
    """
    Exceptions that nobody foresaw, while a login, an address and a form are in hand: of a user whose password is no
    text, or, where that is no way to damage a store, of a file whose version is a list.
    """
    if here.redis is None:
        who, project = "damaged", "demo"
        with closing(sqlite3.connect(here.process.data_dir / "cheddar.sqlite")) as connection, connection:
            connection.execute("INSERT INTO users VALUES (?, X'ff')", (who,))
    else:
        who, project = "alice", "damaged"
        filename = make_wheel(project, "1.0")[0]
        record = f'{{"filename":"{filename}","version":["1.0"]}}'
        tell(here.redis.port, "HSET", f"cheddar.2.files.{project}", filename, record, password=CANARIES["redis"])
    login = basic(who, CANARIES["user" if who == "alice" else "damaged"])
    secret, cookie = CANARIES["query"], f"session={CANARIES['cookie']}"
    body, content_type = upload_form(*make_wheel(project, "1.1"), {"name": project, "secret": CANARIES["field"]})
    for method, path, accept in (
        ("GET", f"/simple/{project}/?token={secret}", "text/html"),
        ("DELETE", f"/simple/{project}/1.0?token={secret}", "*/*"),
        ("POST", f"/pypi/?token={secret}", "text/html"),
    ):
        sent = {"Authorization": login, "Accept": accept, "Cookie": cookie, "Content_Type": content_type}
        assert here.ask(method, path, body if method == "POST" else None, **sent) == 500, (path, here.said)
    here.command("user", "hash", "--all")


def commands(here: Everything) -> None:
    """What operators see; also of settings that are wrong."""
    for arguments in (("settings",), ("user", "list"), ("--help",), ("user", "add", "--stdin", "bob")):
        here.command(*arguments, stdin=CANARIES["user"] + "\n")
    secret = CANARIES["redis"]
    for wrong in (
        {"CHEDDAR_REDIS_URL": f"redis://:{secret}@127.0.0.1:99999"},
        {"CHEDDAR_REDIS_URL": f"http://:{secret}@127.0.0.1"},
        {"CHEDDAR_REDIS_URL": f"redis://:{secret}@127.0.0.1:1"},
        {"CHEDDAR_REDIS_URL": f"redis://:{secret}@127.0.0.1:1/first"},
        {"CHEDDAR_INDEX_URL": f"ftp://robot:{secret}@x/", "CHEDDAR_SETTINGS": ""},
        {"CHEDDAR_PUBLIC_URL": f"robot:{secret}@x"},
        {"CHEDDAR_REDIS_HOSTNAME": f":{secret}@host"},
    ):
        served = here.process.data_dir.parent / "socket"
        for program in (
            ("twistd", "--nodaemon", "--pidfile=", "cheddar", "--listen", f"unix:{served}"),
            ("cheddar", "settings"),
        ):
            done = subprocess.run(
                # A store that does not answer is waited for.
                ["timeout", "8", str(BIN / program[0]), *program[1:]],
                env={**here.process._environ, "CHEDDAR_DATA_DIR": str(here.process.data_dir.parent / "other"), **wrong},
                cwd=here.process.data_dir.parent,
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert program[0] == "cheddar" or done.returncode != 0, (wrong, done.stdout)
            here.said[f"{len(here.said)} {program[0]} {next(iter(wrong))}"] = done.stdout + done.stderr


@pytest.mark.deadline(180)
async def test_secrets_are_nowhere(everything: Everything) -> None:
    """In no log line, page, header, metric, error, command's output, argument or store."""
    for part in (good_days, bad_days, unforeseen, commands):
        await deferToThread(part, everything)
    said = await deferToThread(everything.collect)
    assert leaks(said) == []
    # The controls: secrets were in use, and what would hold them is there.
    log = said["log"].decode()
    for name in SOURCES[:4]:
        seen = {seen.headers.get("authorization") for seen in everything.upstreams[name].requests}
        assert seen == {basic("robot", CANARIES[name])}
    assert everything.upstreams["proxy"].requests
    assert "alice published demo-1.0" in log
    if everything.redis is None:
        assert '"GET /simple/demo/ HTTP/1.1" 200' in log
    else:
        assert b'"method": "GET", "path": "/simple/demo/"' in said["file access.jsonl"]
    assert log.count("Traceback (most recent call last)") == 3
    # Each has gone through what has the request in hand; and where it could, through what has the password.
    assert log.count("in _matches\n" if everything.redis is None else "in handle\n") == 3
    assert any(b"$argon2id$" in value for place, value in said.items() if place.startswith("stored "))
    everything.said["leak"] = b"x" + base64.b64encode(f"robot:{CANARIES['url']}".encode())
    assert leaks(everything.said), "the check itself sees one"


@pytest.mark.deadline(60)
async def test_nobody_writes_lines_into_the_log(reactor: Any, tmp_path: Path) -> None:
    """
    Whatever is in addresses, names, agents, logins, fields and what upstreams say: each line of the log begins with
    its time, or with a tab where it goes on; and no line steers the terminal that shows it.
    """
    upstream = EvilUpstream(reactor)
    upstream.add_file("fine", *make_wheel("fine", "1.0"))
    await upstream.start()
    upstream.add_file("recalled", *make_wheel("recalled", "1.0"))
    process = CheddarProcess(
        tmp_path / "data", options=("--index-url", upstream.url), environ={"CHEDDAR_VERSIONS_SHORT_TTL": "1"}
    )
    await deferToThread(process.add_user)
    await deferToThread(process.start)
    hostile = HOSTILE.encode()
    upstream.misbehave("/simple/evil/", status=500, body=hostile, headers={"Content-Type": "text/html"})
    upstream.misbehave("/simple/page/", body=b'{"files": [' + hostile)
    upstream.misbehave("/simple/turn/", status=302, headers={"Location": "http://evil\u202e.example/\x9b"})
    upstream.add_file("names", *make_wheel("names", "1.0"), url="http://127.0.0.1:1/" + quote(HOSTILE))

    def everywhere() -> None:
        port, quoted = process.port, quote(HOSTILE)
        for path in (f"/simple/{quoted}/", f"/{quoted}", f"/simple/x?{quoted}", f"/local/{quoted}"):
            talk(port, request("GET", path, Connection="close"))
        for header in (b"User-Agent", b"Referer", b"X-Forwarded-For", b"Host"):
            start = b"GET /simple/ HTTP/1.1\r\n" + (b"" if header == b"Host" else b"Host: x\r\n")
            # Line ends and control characters do not come so far; the rest does.
            for value in (hostile, hostile.replace(b"\n", b"").replace(b"\x1b", b""), b'" 200 "\x9b\xc2\x9b'):
                talk(port, start + header + b": " + value + b"\r\nConnection: close\r\n\r\n")
        for user in (f"alice{HOSTILE}", HOSTILE):
            talk(port, request("DELETE", "/simple/x/1", Authorization=basic(user, HOSTILE), Connection="close"))
        for filename, fields in (
            (f"demo-1.0{HOSTILE}.whl", {}),
            ("demo-1.0-py3-none-any.whl", {"name": f"demo{HOSTILE}", HOSTILE: HOSTILE, ":action": HOSTILE}),
        ):
            body, content_type = upload_form(filename, make_wheel("demo", "1.0")[1], fields)
            ask(port, "POST", "/pypi/", body, {"Authorization": basic(), "Content-Type": content_type})
        for project in ("evil", "page", "turn", "names", "recalled"):
            ask(port, "GET", f"/simple/{project}/")
        upstream.projects["recalled"].clear()
        upstream.add_file("recalled", *make_wheel("recalled", "1.0"), yanked=f"REASON{HOSTILE}")
        end = time.monotonic() + 20
        while "REASON" not in process.log.read_text() and time.monotonic() < end:
            ask(port, "GET", "/simple/recalled/")
            time.sleep(0.2)
        ask(port, "GET", "/simple/fine/", headers={"User-Agent": "the-last"})

    try:
        await deferToThread(everywhere)
        await deferToThread(process.stop)
    finally:
        await deferToThread(process.stop)
        await upstream.stop()
    text = process.log.read_bytes().decode()
    lines = text.removesuffix("\n").split("\n")
    assert "the-last" in text, "the control"
    assert "admin logged in" in text, "the control: it came so far, as text"
    assert "REASON" in text, "the control: an event tells what an upstream wrote"
    for line in lines:
        rest = line.removeprefix("\t")
        assert rest.isprintable(), ascii(line)
        assert line.startswith(("\t", "20")), ascii(line)
        assert not line.startswith("2026-11-25T00:00:00"), ascii(line)


def test_the_check_itself_sees_secrets() -> None:
    """However a secret is written, and whatever stands before it."""
    for secret in CANARIES.values():
        for before in ("", "a", "ab", "robot:", "robots:"):
            for text in (secret, quote(secret), base64.b64encode(f"{before}{secret}!".encode()).decode()):
                assert leaks({"x": f"{before}{text}".encode()}), text
