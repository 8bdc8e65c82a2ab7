"""The certificate API's contract: what POST /issue answers, and that bad input is a 400 that names what is wrong."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from fastapi.testclient import TestClient

from faces2.certgen.api import create_app
from faces2.certgen.authority import Authority
from faces2.service.settings import CertgenSettings


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(create_app(Authority(CertgenSettings(dir=tmp_path / "certs"))), raise_server_exceptions=False)


@pytest.mark.parametrize("mac", ["aa:bb:cc:dd:ee:01", "AA-BB-CC-DD-EE-01", "aabbccddee01"])
def test_issue(client: TestClient, mac: str) -> None:
    response = client.post("/issue", json={"mac": mac})
    body = response.json()
    assert response.status_code == 200
    assert body.keys() == {"mac", "client_cert", "private_key", "ca_cert", "expires_at"}
    assert body["mac"] == "aa:bb:cc:dd:ee:01"
    certificate = x509.load_pem_x509_certificate(body["client_cert"].encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(body["ca_cert"].encode()))
    key = serialization.load_pem_private_key(body["private_key"].encode(), None)
    assert key.public_key() == certificate.public_key()
    assert datetime.fromisoformat(body["expires_at"]) == certificate.not_valid_after_utc
    assert client.post("/issue", json={"mac": mac}).json() == body


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 100_000, "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b"{}", "mac"),
        (b'{"mac": null}', "mac"),
        (b'{"mac": 5}', "mac"),
        (b'{"mac": ["aa:bb:cc:dd:ee:01"]}', "mac"),
        (b'{"mac": "zz:bb:cc:dd:ee:01"}', "zz:bb:cc:dd:ee:01"),
        (b'{"mac": "aa:bb-cc:dd:ee:01"}', "mac"),
        (b'{"mac": "../../../etc/x"}', "mac"),
        (b'{"mac": "\\ud800"}', "mac"),
        (b'{"mac": "' + b"a" * 1_000_000 + b'"}', "mac"),
    ],
)
def test_bad_input_is_a_400(client: TestClient, body: bytes, named: str) -> None:
    response = client.post("/issue", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    detail = response.json()["detail"]
    assert isinstance(detail, str)
    assert named in detail
    assert len(detail) < 300


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_body_is_not_read_without_end(client: TestClient, kind: str) -> None:
    given = 0

    def without_end() -> Iterator[bytes]:
        nonlocal given
        while given < 10_000_000:
            given += 10_000
            yield b"x" * 10_000

    response = client.post("/issue", content=without_end(), headers={"content-type": kind})
    assert (response.status_code, response.json()) == (413, {"detail": "body: more than 1048576 bytes"})
    assert client.post("/issue", json={"mac": "aa:bb:cc:dd:ee:01", "more": "x" * 60_000}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
def test_health(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200
