"""The whole of Cheddar as a process: how it starts, where it listens, how it ends, what it costs."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.distributions import make_wheel
from tests.support.server import BIN, USER, CheddarProcess, ask, basic, free_port, upload_form

#: How long a test may wait for what takes a fraction of this.
PATIENCE = 30


def publish(port: int, filename: str, content: bytes) -> int:
    """Upload. @return: the status."""
    body, content_type = upload_form(filename, content)
    return ask(port, "POST", "/pypi/", body, {"Content-Type": content_type, "Authorization": basic()}).status


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CheddarProcess]:
    """A process with a user and local projects alone; not started."""
    process = CheddarProcess(tmp_path / "data", options=("--index-url", ""))
    process.add_user()
    yield process
    process.stop()


def failed_start(tmp_path: Path, *options: str, command: tuple[str, ...] = (), **environ: str) -> str:
    """Start what cannot start. @return: the one line that says why."""
    done = subprocess.run(
        [
            *command,
            *(str(BIN / "twistd"), "--nodaemon", "--pidfile=", "cheddar", "--index-url", ""),
            *("--data-dir", str(tmp_path / "data"), *options),
        ],
        cwd=tmp_path,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    assert "Unhandled" not in done.stdout
    (line,) = [
        line for line in done.stdout.splitlines() if "could not start" in line or line.startswith("twistd cheddar: ")
    ]
    return line


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    """The process ends with a status that says so, and one line that names the port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = failed_start(tmp_path, "--listen", f"tcp:{port}:interface=127.0.0.1")
    assert str(port) in line
    assert "in use" in line


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("carrier-pigeon:80", "carrier-pigeon"),
        ("tcp:http", "http"),
        ("tcp:99999", "65535"),
        ("ssl:0:privateKey=/nowhere.pem", "/nowhere.pem"),
        ("systemd:domain=INET:name=http", "handed over no socket"),
        ("unix:/nowhere/cheddar.sock", "/nowhere"),
    ],
)
def test_an_endpoint_that_is_none_is_said(tmp_path: Path, endpoint: str, says: str) -> None:
    """One line that names the endpoint and what is wrong with it."""
    line = failed_start(tmp_path, "--listen", endpoint)
    assert endpoint in line
    assert says in line


def test_a_store_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """An address that is none, a database that is damaged: one line, and nothing is written over."""
    assert "REDIS_URL" in failed_start(tmp_path, "--redis", "redis://localhost/first")
    database = tmp_path / "data" / "cheddar.sqlite"
    database.parent.mkdir(exist_ok=True)
    database.write_bytes(b"no database" * 1000)
    line = failed_start(tmp_path, "--listen", "tcp:0:interface=127.0.0.1")
    assert str(database) in line
    assert "damaged" in line
    assert database.read_bytes() == b"no database" * 1000


def test_a_socket_from_systemd_has_to_be_used(tmp_path: Path) -> None:
    """Who hands a socket over and serves on another port would leave those who connect to it without an answer."""
    script = 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; exec "$@"'
    listen = ("--listen", f"tcp:{free_port()}:interface=127.0.0.1")
    line = failed_start(tmp_path, *listen, command=("sh", "-c", script, "sh"))
    assert "systemd" in line
    assert "--listen systemd:" in line
    theirs = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}
    started = CheddarProcess(tmp_path / "data", options=("--index-url", ""), environ=theirs)
    started.start().stop()  # the control: sockets that were another process's are of no account


@pytest.mark.deadline(60)
def test_a_second_start_is_quick(server: CheddarProcess) -> None:
    """With what there is already, the first answer comes within three seconds (three times that on a busy machine)."""
    server.start()
    assert publish(server.port, *make_wheel("demo", "1.0")) == 200
    server.stop()
    began = time.monotonic()
    server.start()
    assert time.monotonic() - began < 9
    assert ask(server.port, "GET", "/simple/demo/").status == 200


@pytest.mark.deadline(90)
def test_what_is_under_way_is_finished_at_the_end(server: CheddarProcess) -> None:
    """
    SIGTERM: a slow reader still gets its whole file and a slow sender its upload published, while no new connection
    is taken; then the process ends, soon.
    """
    server.start()
    filename, content = make_wheel("big", "1.0", size=20_000_000)
    assert publish(server.port, filename, content) == 200
    reader = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    reader.connect()
    reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    reader.request("GET", f"/local/{filename}")
    response = reader.getresponse()
    got = response.read(1000)
    body, content_type = upload_form(*make_wheel("late", "1.0"))
    sender = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    sender.putrequest("POST", "/pypi/")
    for name, value in (("Content-Type", content_type), ("Authorization", basic()), ("Content-Length", len(body))):
        sender.putheader(name, value)
    sender.endheaders(body[:100])
    idle = socket.create_connection(("127.0.0.1", server.port))
    time.sleep(0.3)
    os.kill(server.pid, signal.SIGTERM)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", server.port)).close()
        except ConnectionRefusedError:
            break
        except ConnectionResetError:
            continue  # it stood in the queue of the port that was just closed
    else:
        raise AssertionError("it goes on to take connections")
    while chunk := response.read(500_000):
        got += chunk
        time.sleep(0.01)
    assert got == content
    sender.send(body[100:])
    answer = sender.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (200, "close")
    ended = time.monotonic()
    assert server.wait(PATIENCE) == -signal.SIGTERM
    assert time.monotonic() - ended < 9
    idle.close()
    reader.close()
    sender.close()
    assert "Traceback" not in server.log.read_text()
    assert server.start() is server
    assert ask(server.port, "GET", "/simple/late/").status == 200


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key, as PEM files."""
    from datetime import datetime, timedelta, timezone

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.deadline(60)
def test_tls(server: CheddarProcess, tmp_path: Path) -> None:
    """An ssl: endpoint beside the plain one: uploads and downloads of some size, refusals, and an orderly end."""
    cert, key = certificate(tmp_path)
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={cert}"
    secure = CheddarProcess(server.data_dir, options=("--index-url", "", "--listen", endpoint)).start()
    trusting = ssl.create_default_context(cafile=str(cert))
    trusting.set_alpn_protocols(["h2", "http/1.1"])

    def asked(connection: http.client.HTTPSConnection, method: str, path: str, *rest: object) -> tuple[int, bytes]:
        connection.request(method, path, *rest)  # type: ignore[arg-type]  # body and headers
        response = connection.getresponse()
        return response.status, response.read()

    try:
        connection = http.client.HTTPSConnection("localhost", port, context=trusting, timeout=PATIENCE)
        connection.connect()
        assert connection.sock.selected_alpn_protocol() == "http/1.1"  # type: ignore[attr-defined]  # of SSLSocket
        filename, content = make_wheel("demo", "1.0", size=10_000_000)
        body, content_type = upload_form(filename, content)
        login = {"Content-Type": content_type, "Authorization": basic()}
        assert asked(connection, "POST", "/pypi/", body, login)[0] == 200
        assert asked(connection, "GET", f"/local/{filename}") == (200, content)
        refused = http.client.HTTPSConnection("localhost", port, context=trusting, timeout=PATIENCE)
        assert (
            asked(refused, "POST", "/pypi/", body[:1_000_000], {**login, "Authorization": basic(USER, "x")})[0] == 401
        )
        refused.close()
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port)) as plain:
                plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                plain.recv(100)
        began = time.monotonic()
        assert secure.stop() == -signal.SIGTERM
        assert time.monotonic() - began < 9
        connection.close()
    finally:
        secure.stop()
    log = secure.log.read_text()
    assert "Traceback" not in log
    assert "Unhandled" not in log


def test_a_unix_socket(server: CheddarProcess, tmp_path: Path) -> None:
    """A unix: endpoint, for a proxy on the same machine: whatever Host it names, or as HTTP/1.0 without one."""
    path = tmp_path / "cheddar.sock"
    process = CheddarProcess(server.data_dir, options=("--index-url", "", "--listen", f"unix:{path}")).start()
    try:
        for asked in (
            b"GET /simple/ HTTP/1.1\r\nHost: cheddar.example\r\nConnection: close\r\n\r\n",
            b"GET /simple/ HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
            b"GET /simple/ HTTP/1.0\r\n\r\n",
        ):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(str(path))
                client.sendall(asked)
                assert client.makefile("rb").read().split(b" ")[1] == b"200", asked
    finally:
        process.stop()
    assert "Traceback" not in process.log.read_text()
    assert not path.exists()


@pytest.mark.deadline(60)
def test_readers_that_do_not_read_cost_little(server: CheddarProcess) -> None:
    """Fifty of them at a 30 MB file: the process grows by less than one file."""
    server.start()
    filename, content = make_wheel("big", "1.0", size=30_000_000)
    assert publish(server.port, filename, content) == 200
    assert ask(server.port, "GET", f"/local/{filename}").body == content
    before = server.memory()
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) for _ in range(50)]
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(f"GET /local/{filename} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for client in clients:
        assert client.recv(10)
    time.sleep(1)
    assert ask(server.port, "GET", "/health/ready").status == 200
    assert server.memory() - before < len(content)
    for client in clients:
        client.close()


@pytest.mark.deadline(60)
def test_an_upload_is_not_read_before_it_is_wanted(server: CheddarProcess) -> None:
    """What senders without a login push in is not gathered in memory; each refusal has its line in the access log."""
    server.start()
    before = server.memory()
    headers = {"Authorization": basic(USER, "wrong"), "Content-Type": "multipart/form-data; boundary=x"}

    def push() -> None:
        try:
            assert ask(server.port, "POST", "/pypi/", b"x" * 60_000_000, headers).status == 401
        except OSError:
            pass  # it was too much: the connection is closed

    threads = [threading.Thread(target=push) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert server.memory() - before < 60_000_000
    log = server.noted()
    assert log.count('"POST /pypi/ HTTP/1.1" 401') == 6
    assert "Traceback" not in log
