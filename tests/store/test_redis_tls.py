"""rediss://: the server's certificate is checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.protocols.portforward import ProxyFactory

from cheddar.errors import StoreUnavailable
from cheddar.model import User
from cheddar.store.redis import RedisStore
from tests.support.redis import RedisServer


def certificate(host: str) -> bytes:
    """A key, and a certificate for C{host} that it signed itself, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's own authority")])
    now = datetime.now(timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + signed.public_bytes(serialization.Encoding.PEM)


@pytest_twisted.async_yield_fixture(params=["localhost", "elsewhere.example"])
async def tls(
    request: pytest.FixtureRequest, redis_server: RedisServer, reactor: Any, tmp_path: Path
) -> AsyncIterator[tuple[str, str, Path]]:
    """TLS in front of the server: the host its certificate names, the address, and the certificate."""
    pem = certificate(request.param)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(pem)
    redis_server.command("FLUSHALL")
    context = DefaultOpenSSLContextFactory(str(trusted), str(trusted))
    listening = reactor.listenSSL(0, ProxyFactory("127.0.0.1", redis_server.port), context, interface="127.0.0.1")
    yield request.param, f"rediss://localhost:{listening.getHost().port}", trusted
    await listening.stopListening()


@pytest.mark.parametrize("trust", [True, False])
async def test_certificate(
    tls: tuple[str, str, Path], reactor: Any, monkeypatch: pytest.MonkeyPatch, trust: bool
) -> None:
    """Only a server whose certificate is trusted, and names the host of REDIS_URL, is spoken to."""
    host, url, trusted = tls
    if trust:
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    store = RedisStore(url, 50, reactor)
    await store.start()
    try:
        if trust and host == "localhost":
            await store.accounts.put_user(User("ann", "007"))
            assert await store.accounts.user("ann") == User("ann", "007")
        else:
            with pytest.raises(StoreUnavailable, match="certificate verify failed|Mismatch"):
                await store.accounts.put_user(User("ann", "007"))
    finally:
        await store.stop()
