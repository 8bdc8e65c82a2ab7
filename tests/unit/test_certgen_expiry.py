"""Certificates that end soon: counted by state, the first one's end told, late controllers named."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from faces2.certgen.authority import Authority
from faces2.certgen.expiry import look
from faces2.service.settings import CertgenSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Two controllers; the second's certificate ends ten days after the first's."""
    now = [NOW]
    authority = Authority(CertgenSettings(dir=tmp_path / "certs"), lambda: now[0])
    authority.ensure_server()
    authority.issue("aabbccddee01")
    now[0] += timedelta(days=10)
    authority.issue("aabbccddee02")
    return authority


def counts(of: str) -> list[float | None]:
    labels = [{"of": of, "state": state} for state in ("valid", "late", "expired")]
    return [REGISTRY.get_sample_value("faces2_certificates", each) for each in labels]


def ends(of: str) -> datetime:
    value = REGISTRY.get_sample_value("faces2_certificate_expiry_timestamp_seconds", {"of": of})
    assert value is not None
    return datetime.fromtimestamp(value, UTC)


# They are renewed 30 days before they end, so they are late when 15 days are left.
@pytest.mark.parametrize(
    ("days", "controllers", "first"),
    [
        (0, [2, 0, 0], 365),
        (349, [2, 0, 0], 365),
        (351, [1, 1, 0], 365),
        (361, [0, 2, 0], 365),
        (366, [0, 1, 1], 375),
    ],
)
def test_states(authority: Authority, days: int, controllers: list[int], first: int) -> None:
    assert look(authority, NOW + timedelta(days=days)) == controllers[1]
    assert counts("controller") == controllers
    assert ends("controller") == NOW + timedelta(days=first)
    assert sum(filter(None, counts("server"))) == sum(filter(None, counts("ca"))) == 1
    assert ends("ca") == NOW + timedelta(days=3650)


def test_late_controllers_are_named_when_they_are_others(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[object] = []
    monkeypatch.setattr("faces2.certgen.expiry.log.warning", lambda _, **fields: named.append(fields["mac"]))
    late = look(authority, NOW + timedelta(days=351))
    assert look(authority, NOW + timedelta(days=352), late) == 1
    assert named == ["aabbccddee01"]
    look(authority, NOW + timedelta(days=361), late)
    assert sorted(map(str, named)) == ["aabbccddee01", "aabbccddee01", "aabbccddee02"]


def test_a_damaged_certificate_is_passed_over(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "certs" / "controllers" / "aabbccddee03.pem").write_bytes(b"rubbish")
    look(authority, NOW)
    assert counts("controller") == [2, 0, 0]
