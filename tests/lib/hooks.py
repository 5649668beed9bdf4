"""A receiver of webhooks with TLS, certified by an authority that is made for it."""

import base64
import datetime
import hmac
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving import QuietHandler, Serving


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """An authority's certificate, and a file with the key and the certificate of `localhost` and 127.0.0.1."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    today = datetime.datetime.now(datetime.timezone.utc)

    def builder(subject: str, public_key: object) -> x509.CertificateBuilder:
        begin, end = today - datetime.timedelta(days=1), today + datetime.timedelta(days=2)
        return (x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name("Test authority"))
                .public_key(public_key).serial_number(x509.random_serial_number())
                .not_valid_before(begin).not_valid_after(end))

    authority = builder("Test authority", authority_key.public_key())
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    authority = authority.sign(authority_key, hashes.SHA256())
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = builder("localhost", key.public_key())
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(x509.SubjectAlternativeName(names), critical=False)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    leaf = leaf.sign(authority_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    authority_file, server_file = folder / "authority.pem", folder / "server.pem"
    authority_file.write_bytes(authority.public_bytes(pem))
    server_file.write_bytes(private + leaf.public_bytes(pem))
    return authority_file, server_file


class Hooks(Serving):
    """Takes messages at any path; `/redirect` leads to `/elsewhere`."""

    def __init__(self, folder: Path):
        self.authority, self.certificate = make_certificates(folder)
        self.received: list[tuple[str, dict[str, str], bytes]] = []

    class handler(QuietHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.owner.received.append((self.path, headers, self.body()))
            if self.path == "/redirect":
                self.answer(302, {"Location": "/elsewhere"})
            else:
                self.answer(204, {})

    def at(self, path: str) -> list[tuple[dict[str, str], bytes]]:
        return [(headers, body) for found, headers, body in list(self.received) if found == path]


def is_signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """As the libraries of Standard Webhooks do it."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), signed, "sha256")
    return f"v1,{base64.b64encode(mac).decode()}" in headers["webhook-signature"].split(" ")
