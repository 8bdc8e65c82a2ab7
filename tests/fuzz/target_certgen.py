"""Requests to the certificate API: a certificate for a MAC, or a 400 that says why; never a 500."""

import json
import re
import tempfile
from collections import Counter
from functools import cached_property
from pathlib import Path
from random import Random

from fastapi.testclient import TestClient

from faces2.certgen.api import create_app
from faces2.certgen.authority import Authority
from faces2.certgen.body_limit import MAX_BODY_BYTES
from faces2.service.settings import CertgenSettings
from tests.fuzz import mutations
from tests.fuzz.engine import Case

MACS = ("aa:bb:cc:dd:ee:01", "AA-BB-CC-DD-EE-02", "aabbccddee03")
TYPES = ("application/json", "application/json; charset=utf-16", "text/plain", "application/x-www-form-urlencoded")
ODD_TYPES = ("", "multipart/form-data", "multipart/form-data; boundary=x", "application/merge+json", "é", "a" * 5000)
_MAC = re.compile(r"[0-9a-f]{2}(?:([:-]?)[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}", re.IGNORECASE | re.ASCII)


class Certgen:
    """(body, content type) of POST /issue."""

    name = "certgen"
    batch = 50

    @cached_property
    def _client(self) -> TestClient:
        folder = tempfile.TemporaryDirectory(prefix="faces2-fuzz-")
        self._folder = folder  # removed when we are
        client = TestClient(create_app(Authority(CertgenSettings(dir=Path(folder.name)))))
        return client.__enter__()  # one event loop for all requests; it ends with the process

    def cases(self, rng: Random, count: int) -> list[Case]:
        """Bodies that are nearly right, and such that never were."""
        return [(_body(rng), rng.choice(TYPES if rng.random() < 0.9 else ODD_TYPES)) for _ in range(count)]

    def check(self, cases: list[Case]) -> Counter[str]:
        """The status of each; the client raises what the server did not catch."""
        return Counter(self._one(*case) for case in cases)

    def _one(self, body: bytes, kind: str) -> str:
        answer = self._client.post("/issue", content=body, headers={"content-type": kind.encode()})
        detail = answer.json().get("detail", "")
        assert answer.status_code in (200, 400, 413), answer.text
        assert answer.status_code == 200 or (isinstance(detail, str) and 0 < len(detail) < 2000), detail
        if len(body) > MAX_BODY_BYTES:
            assert answer.status_code == 413
        elif kind == "application/json":
            assert answer.status_code == (200 if _is_good(body) else 400), detail
        return str(answer.status_code)


def _is_good(body: bytes) -> bool:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return False
    mac = content.get("mac") if isinstance(content, dict) else None
    return isinstance(mac, str) and len(mac) <= 64 and _MAC.fullmatch(mac.strip()) is not None


def _body(rng: Random) -> bytes:
    content, kind = {"mac": rng.choice(MACS)}, rng.random()
    if kind < 0.1:
        return mutations.dumped(content)
    if kind < 0.5:
        return mutations.dumped(mutations.document(rng, content))
    if kind < 0.51:
        return mutations.dumped(content | {"more": "x" * 2_000_000})
    return mutations.data(rng, mutations.dumped(content))
