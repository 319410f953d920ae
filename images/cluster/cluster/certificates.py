"""The certificates by which a cluster's nodes know one another: an authority's, and one for each node.

Ray's nodes check that a certificate names the address at which they reach its node.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from labelloop.clocks import LEEWAY

AUTHORITY_LASTS = timedelta(days=3650)
NODE_LASTS = timedelta(days=3650)
_NAME = "labelloop cluster"


@dataclass(frozen=True)
class Certificate:
    """In PEM: a certificate and its private key."""

    certificate: bytes
    key: bytes


def make_authority() -> Certificate:
    """One that knows nobody yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LEEWAY)
        .not_valid_after(now + AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _in_pem(certificate, key)


def issue(authority: Certificate, addresses: Iterable[str], lasts: timedelta = NODE_LASTS) -> Certificate:
    """A node's certificate, which names its IP addresses.

    Raises:
        ValueError: the authority can't be read, or an address is none.
    """
    signing = serialization.load_pem_private_key(authority.key, password=None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is of another kind than those made here")
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    named = [x509.IPAddress(ipaddress.ip_address(address)) for address in dict.fromkeys(addresses)]
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{_NAME} node")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LEEWAY)
        .not_valid_after(now + lasts)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(named), critical=False)
        .sign(signing, hashes.SHA256())
    )
    return _in_pem(certificate, key)


def _in_pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(certificate.public_bytes(serialization.Encoding.PEM), private)
