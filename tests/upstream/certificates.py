"""Certificates for servers on loopback."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.ssl import Certificate, PrivateCertificate, trustRootFromCertificates


def certificate_for(*hosts: str, days: int = 1) -> tuple[Any, Any]:
    """
    @return: of L{pem_for}: a context factory for a server, and what a client needs to trust it.
    """
    pem, secret = pem_for(*hosts, days=days)
    server = PrivateCertificate.loadPEM(pem + secret).options()
    return server, trustRootFromCertificates([Certificate.loadPEM(pem)])


def pem_for(*hosts: str, days: int = 1) -> tuple[bytes, bytes]:
    """
    @param hosts: the names and IP addresses that it is good for.
    @param days: how long it is valid; negative: it ended so long ago.
    @return: a certificate that signs itself, and its private key.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{hosts[0]} of Cheddar's tests"[:64])])
    end = datetime.now(timezone.utc) + timedelta(days=days)
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=30))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, secret
