"""Certificates of the security tests: those of the brokers, of the clients, and of the authority."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization


@dataclass(frozen=True)
class Certificates:
    """Files in `folder`: `ca.pem`, and key and certificate together in `server.pem`, `expired.pem` and `client.pem`."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        names = {
            "server": authority.issue_cert("127.0.0.1"),
            "expired": authority.issue_cert(
                "127.0.0.1", not_before=yesterday - dt.timedelta(days=1), not_after=yesterday
            ),
            "client": authority.issue_cert("billing.example.org", common_name="billing"),
        }
        for name, certificate in names.items():
            (folder / f"{name}.pem").write_bytes(_pkcs8(certificate) + _chain(certificate))
        return cls(folder)

    def client_context(self, *, client: bool = False) -> ssl.SSLContext:
        """Return a client's context that trusts the authority, with a client certificate if `client`."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if client:
            context.load_cert_chain(self.folder / "client.pem")
        return context

    def keystore(self, listener: str, name: str) -> dict[str, str]:
        """Return the broker properties of a listener with this certificate."""
        prefix = f"listener.name.{listener.lower()}.ssl"
        return {
            f"{prefix}.keystore.type": "PEM",
            f"{prefix}.keystore.location": str(self.folder / f"{name}.pem"),
            f"{prefix}.truststore.type": "PEM",
            f"{prefix}.truststore.location": str(self.folder / "ca.pem"),
        }


def _pkcs8(certificate: trustme.LeafCert) -> bytes:
    """Kafka reads keys only in this format."""
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _chain(certificate: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
