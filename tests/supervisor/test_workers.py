"""Several processes that serve together: who asks does not see which, nor that one has died or was replaced."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import UpstreamProcess, running_upstream
from tests.support.distributions import make_wheel
from tests.support.herd import herd
from tests.support.server import BIN, JSON, CheddarProcess, ask, basic, free_port, upload_form
from tests.upstream.certificates import pem_for

WORKERS = 2
PATIENCE = 30.0


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Python keeps what it has compiled, as it does where Cheddar is installed."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("compiled"))}


def until(true: Callable[[], bool], what: str) -> None:
    """Wait for something that is to be soon."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def workers_of(supervisor: int) -> set[int]:
    """The processes that a process has started, and that have not ended."""
    return {int(pid) for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()}


def lives(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def sockets_of(pid: int) -> int:
    """How many sockets a process has open."""
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += os.readlink(descriptor).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


def times(server: CheddarProcess, line: str) -> int:
    """How often something stands in the log."""
    return server.log.read_text().count(line)


def started(server: CheddarProcess) -> CheddarProcess:
    """Start, and wait until all workers serve."""
    server.start()
    until(lambda: times(server, "workers serve") > 0, "all workers serve")
    return server


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpstreamProcess]:
    """An upstream that has one wheel, in its folder."""
    folder = tmp_path_factory.mktemp("upstream")
    with running_upstream(folder / "upstream", (make_wheel("cold", "1.0", size=20_000_000),)) as running:
        yield running


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, compiled: dict[str, str], upstream: UpstreamProcess
) -> Iterator[CheddarProcess]:
    """Two workers with a user and an upstream."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "cheddar.toml").write_text("")
    options = ("--workers", str(WORKERS), "--index-url", upstream.url, "--settings", str(folder / "cheddar.toml"))
    process = CheddarProcess(folder / "data", options=options, environ=compiled)
    process.add_user()
    yield started(process)
    process.stop()


class Client:
    """
    Asks again and again, on one connection for as long as the server keeps it.

    @ivar answers: how many were whole and good. @ivar lost: what became of requests that were not answered so.
    @ivar reconnects: whether it goes on where the server has said that this was the connection's last answer.
    """

    def __init__(self, port: int, path: str, expected: bytes, reconnects: bool = True) -> None:
        self._port, self._path, self._expected, self._reconnects = port, path, expected, reconnects
        self.answers = 0
        self.lost: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Ask no more."""
        self._end.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        while not self._end.is_set():
            try:
                connection.request("GET", self._path)
                response = connection.getresponse()
                body = response.read()
                if (response.status, body) != (200, self._expected):
                    self.lost.append(f"{response.status}, {len(body)} bytes")
                self.answers += 1
                if response.will_close and not self._reconnects:
                    return
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                connection.close()
                if not self._reconnects:
                    return


def published(server: CheddarProcess, name: str, size: int = 0) -> tuple[str, bytes]:
    """Upload a wheel. @return: its path and content."""
    filename, content = make_wheel(name, "1.0", size=size)
    body, content_type = upload_form(filename, content)
    headers = {"Content-Type": content_type, "Authorization": basic()}
    assert ask(server.port, "POST", "/pypi/", body, headers).status == 200
    return f"/local/{filename}", content


@pytest.mark.deadline(90)
def test_connections_are_spread_over_the_workers(server: CheddarProcess) -> None:
    """Of many connections each worker takes some, and the one that watches takes none."""
    workers = workers_of(server.pid)
    assert len(workers) == WORKERS
    everybody = (server.pid, *sorted(workers))
    looks = []
    for _ in range(10):
        # One of those that asked before may still be closing.
        looks.append([sockets_of(pid) for pid in everybody])
        time.sleep(0.02)
    before = [min(counts) for counts in zip(*looks, strict=True)]
    connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE) for _ in range(60)]
    for connection in connections:
        connection.request("GET", "/health/live")
        assert connection.getresponse().read() == b"live\n"
    idle, *shares = [sockets_of(pid) - count for pid, count in zip(everybody, before, strict=True)]
    for connection in connections:
        connection.close()
    assert idle == 0
    assert sum(shares) == len(connections)
    assert min(shares) > 0


def counted(server: CheddarProcess, name: str) -> float:
    """The value of a metric, whoever is asked for it."""
    text = ask(server.port, "GET", "/metrics").body.decode()
    (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(value)


ALL_LIVE = 'cheddar_http_requests_total{method="GET",route="/health/live",status="200"}'


@pytest.mark.deadline(90)
def test_a_file_that_is_not_here_yet_is_asked_for_at_all_workers(
    server: CheddarProcess, upstream: UpstreamProcess
) -> None:
    """Every client gets every byte, and upstream is asked for them once by each worker at most."""
    url = f"http://127.0.0.1:{server.port}"
    (file,) = ask(server.port, "GET", "/simple/cold/", headers={"Accept": JSON}).json()["files"]
    wheel = upstream.folder / file["filename"]
    clients = herd(f"{url}/{file['url'].removeprefix('../../')}", 20, wheel)
    assert (clients.right, clients.wrong) == (20, [])
    asked = upstream.log.read_text().splitlines().count(f"GET /files/{file['filename']} whole")
    assert 1 <= asked <= WORKERS


@pytest.mark.deadline(90)
def test_a_worker_that_is_killed_is_replaced(server: CheddarProcess) -> None:
    """
    kill -9: the others go on answering, another worker takes its place, and the metrics that any worker shows are
    those of all, the dead one's among them; of gauges, those of the living.
    """
    path, content = published(server, "steady")
    before = counted(server, ALL_LIVE)
    for _ in range(30):
        assert ask(server.port, "GET", "/health/live").status == 200
    end = time.monotonic() + PATIENCE
    while counted(server, ALL_LIVE) < before + 30 and time.monotonic() < end:
        time.sleep(0.02)  # a worker counts what it has answered, and another one may be asked for the metrics before
    assert {counted(server, ALL_LIVE) for _ in range(10)} == {before + 30}
    client = Client(server.port, path, content)
    victim, other = sorted(workers_of(server.pid))
    until(lambda: client.answers > 20, "the client is answered")
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(workers_of(server.pid)) == WORKERS and victim not in workers_of(server.pid), "a new worker")
    answers = client.answers
    until(lambda: client.answers > answers + 20, "the client goes on being answered")
    client.end()
    # What was under way in the worker that was killed is lost with it.
    assert len(client.lost) <= 1
    until(lambda: times(server, "CheddarSite starting on") == WORKERS + 1, "the new worker serves")
    (new,) = workers_of(server.pid) - {other}
    assert new != victim
    assert f"The worker {victim} has ended by signal 9" in server.log.read_text()
    assert counted(server, ALL_LIVE) == before + 30
    assert counted(server, "cheddar_connections") < 10


@pytest.mark.deadline(90)
def test_all_workers_are_replaced_and_no_request_is_lost(server: CheddarProcess) -> None:
    """
    SIGHUP: each worker gives way to a new one, and clients see nothing of it but connections that end in order. Where
    the settings are wrong now, the old ones go on.
    """
    path, content = published(server, "replaced", size=300_000)
    before = workers_of(server.pid)
    clients = [Client(server.port, path, content) for _ in range(4)]
    settings = server.data_dir.parent / "cheddar.toml"
    settings.write_text("pot = 1")
    os.kill(server.pid, signal.SIGHUP)
    until(lambda: times(server, "the others go on as they are") == 1, "it is said that the settings are wrong")
    assert workers_of(server.pid) == before
    settings.write_text("history_size = 7")
    os.kill(server.pid, signal.SIGHUP)
    until(lambda: times(server, "All workers were replaced") == 1, "all workers are new")
    after = workers_of(server.pid)
    answers = [client.answers for client in clients]
    until(lambda: all(client.answers > count for client, count in zip(clients, answers, strict=True)), "answers")
    for client in clients:
        client.end()
    assert [client.lost for client in clients] == [[], [], [], []]
    assert len(after) == WORKERS
    assert not before & after
    assert "Traceback" not in server.log.read_text()


@pytest.mark.deadline(90)
def test_what_was_accepted_is_answered_at_the_end(server: CheddarProcess) -> None:
    """SIGTERM under load: each request on a connection is answered whole until the server says that it was the last."""
    path, content = published(server, "last", size=300_000)
    workers = workers_of(server.pid)
    clients = [Client(server.port, path, content, reconnects=False) for _ in range(6)]
    until(lambda: all(client.answers > 3 for client in clients), "all clients are answered")
    pid = server.pid
    os.kill(pid, signal.SIGTERM)
    assert server.wait(PATIENCE) == -signal.SIGTERM
    for client in clients:
        client.end()
    assert [client.lost for client in clients] == [[]] * 6
    assert not any(map(lives, workers))
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "were cut" not in log


@pytest.mark.deadline(90)
def test_workers_end_with_their_supervisor(tmp_path: Path, compiled: dict[str, str]) -> None:
    """
    A socket that is a file and a TLS port are served by workers too. kill -9 of the process that watches over them:
    they end by themselves, and the same can be started again at once.
    """
    pem, key = pem_for("localhost")
    (tmp_path / "cert.pem").write_bytes(pem)
    (tmp_path / "key.pem").write_bytes(key)
    secure, path = free_port(), tmp_path / "cheddar.sock"
    options = (
        *("--workers", str(WORKERS), "--index-url", "", "--listen", f"unix:{path}"),
        *("--listen", f"ssl:{secure}:interface=127.0.0.1:privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"),
    )
    server = started(CheddarProcess(tmp_path / "data", options=options, environ=compiled))
    try:
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(PATIENCE)
            plain.connect(str(path))
            plain.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert plain.recv(100).startswith(b"HTTP/1.1 200 ")
        trusting = ssl.create_default_context(cadata=pem.decode())
        connection = http.client.HTTPSConnection("localhost", secure, context=trusting, timeout=PATIENCE)
        connection.request("GET", "/health/live")
        assert connection.getresponse().read() == b"live\n"
        connection.close()
        workers = workers_of(server.pid)
        assert all(map(lives, workers))
        server.kill()
        until(lambda: not any(map(lives, workers)), "the workers end")
    finally:
        if server._process is not None:
            server.stop()


#: Twistd, with a supervisor that has less patience.
IMPATIENT = """
import sys
from cheddar.supervisor import crew
from twisted.scripts import twistd
crew.SILENCE = 4.0
sys.argv[0] = "twistd"
twistd.run()
"""


@pytest.mark.deadline(90)
def test_a_worker_that_hangs_is_replaced(tmp_path: Path, compiled: dict[str, str]) -> None:
    """A worker that gives no sign of life is killed, and another takes its place; one that is asked to end is not."""
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", IMPATIENT, "--nodaemon", "--pidfile=", "cheddar", "--index-url", ""),
                *("--data-dir", "data", "--workers", str(WORKERS), "--listen", f"tcp:{port}:interface=127.0.0.1"),
            ],
            cwd=tmp_path,
            env={**os.environ, **compiled},
            stdout=written,
            stderr=written,
        )
    try:
        until(lambda: "workers serve" in log.read_text(), "all workers serve")
        hung, asked = sorted(workers_of(process.pid))
        os.kill(hung, signal.SIGSTOP)
        os.kill(asked, signal.SIGTERM)
        until(lambda: len(workers_of(process.pid) - {hung, asked}) == WORKERS, "two new workers")
        assert ask(port, "GET", "/health/live").status == 200
        text = log.read_text()
        assert f"The worker {hung} does not answer any more, and is killed" in text
        assert f"The worker {asked} has ended with status 0" in text
        assert text.count("is killed") == 1
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_workers_that_cannot_start_end_the_whole(tmp_path: Path, compiled: dict[str, str]) -> None:
    """
    The start ends with a status that says so, and the reason is in the log, which here is a file that twistd alone
    writes; no worker goes on.
    """
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cheddar.sqlite").write_bytes(b"no database" * 1000)
    done = subprocess.run(
        [
            *(str(BIN / "twistd"), "--nodaemon", "--pidfile=", "--logfile=log"),
            *("cheddar", "--index-url", "", "--data-dir", "data"),
            *("--workers", str(WORKERS), "--listen", "tcp:0:interface=127.0.0.1"),
        ],
        cwd=tmp_path,
        env={**os.environ, **compiled},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    # The pipe has an end: no worker that holds it is left.
    assert done.returncode == 1, done.stdout
    log = (tmp_path / "log").read_text()
    assert re.search(r"^\S+ \[cheddar\.\S+#info\] \[\S+#error\] .*data/cheddar\.sqlite is damaged", log, re.MULTILINE)
    assert "Cheddar could not start: a worker has ended before it served" in log
    assert "Traceback" not in log
