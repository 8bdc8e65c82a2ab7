"""A controller's TLS: its certificate comes from the certificate API."""

import os
import ssl
import tempfile
from pathlib import Path

import requests

from faces2.models.mac import colon_mac

_TIMEOUT = (3, 10)
"""Seconds to connect, and to wait for the answer."""


def tls_context(certgen_url: str, mac: str) -> ssl.SSLContext:
    """mTLS as the controller `mac` (12 hex digits); OSError (of which requests' errors are) when there is none."""
    with requests.Session() as session:
        session.trust_env = False  # inside the network: never through a proxy
        url = f"{certgen_url.rstrip('/')}/issue"
        answer = session.post(url, json={"mac": colon_mac(mac)}, timeout=_TIMEOUT)
    answer.raise_for_status()
    issued = answer.json()
    context = ssl.create_default_context(cadata=issued["ca_cert"])
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory(prefix="faces2-") as folder:  # mode 0700, gone when the context has the key
        certificate = _write(Path(folder) / "client.crt", issued["client_cert"])
        key = _write(Path(folder) / "client.key", issued["private_key"])
        context.load_cert_chain(certificate, key)
    return context


def _write(path: Path, text: str) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path
