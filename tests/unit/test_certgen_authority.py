"""The CA: made once, never overwritten; certificates that TLS accepts; one a controller, whoever asks and how often."""

import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from faces2.certgen.authority import Authority, AuthorityError
from faces2.certgen.main import keep_current
from faces2.service.settings import CertgenSettings

MAC = "aabbccddee01"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def settings(folder: Path, **fields: object) -> CertgenSettings:
    return CertgenSettings.model_validate({"dir": folder / "certs", **fields})


ISSUE_IN_A_PROCESS = """
import sys
from faces2.certgen.authority import Authority
from faces2.service.settings import CertgenSettings
print(Authority(CertgenSettings(dir=sys.argv[1])).issue(sys.argv[2]).certificate.serial_number)
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_certificate_says_who_it_is_for(tmp_path: Path) -> None:
    authority = Authority(settings(tmp_path), lambda: NOW)
    issued = authority.issue("AA-BB-CC-DD-EE-01")
    certificate = issued.certificate
    extension = certificate.extensions.get_extension_for_class
    assert [a.value for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [MAC]
    assert extension(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == [f"f2-{MAC}"]
    assert list(extension(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extension(x509.BasicConstraints).value.ca
    assert certificate.not_valid_after_utc == NOW + timedelta(days=365)
    assert issued.key.public_key() == certificate.public_key()
    certificate.verify_directly_issued_by(authority.certificate)
    assert "PRIVATE" not in repr(issued)


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    authority = Authority(settings(tmp_path))
    authority.issue(MAC)
    authority.ensure_server()
    folder = tmp_path / "certs"
    assert {name: mode(folder / name) for name in ("ca", "controllers", "ca/ca.key", f"controllers/{MAC}.pem")} == {
        "ca": 0o700,
        "controllers": 0o700,
        "ca/ca.key": 0o600,
        f"controllers/{MAC}.pem": 0o600,
    }
    assert mode(folder / "mosquitto" / "server.key") == 0o640


def test_a_valid_certificate_is_reused_over_restarts(tmp_path: Path) -> None:
    serials = {Authority(settings(tmp_path)).issue(MAC).certificate.serial_number for _ in range(3)}
    assert len(serials) == 1


@pytest.mark.parametrize(("days", "reused"), [(0, True), (334, True), (336, False), (400, False)])
def test_it_is_renewed_before_it_ends(tmp_path: Path, days: int, reused: bool) -> None:
    first = Authority(settings(tmp_path), lambda: NOW).issue(MAC)
    second = Authority(settings(tmp_path), lambda: NOW + timedelta(days=days)).issue(MAC)
    assert (second.certificate == first.certificate) is reused


@pytest.mark.parametrize(("days", "reused"), [(0, True), (4, True), (5, False)])
def test_a_short_validity_is_used_for_two_thirds(tmp_path: Path, days: int, reused: bool) -> None:
    short = settings(tmp_path, validity_days=7, renew_before_days=30)
    first = Authority(short, lambda: NOW).issue(MAC)
    second = Authority(short, lambda: NOW + timedelta(days=days)).issue(MAC)
    assert (second.certificate == first.certificate) is reused


def test_the_server_certificate_is_looked_after(tmp_path: Path) -> None:
    now, stop = [NOW], threading.Event()
    authority = Authority(settings(tmp_path), lambda: now[0])
    file = authority.ensure_server() / "server.crt"
    first = file.read_bytes()
    now[0] += timedelta(days=350)
    thread = threading.Thread(target=keep_current, args=(authority, stop, 0.01))
    thread.start()
    for _ in range(500):
        if file.read_bytes() != first:
            break
        time.sleep(0.01)
    stop.set()
    thread.join()
    assert file.read_bytes() != first


def test_no_certificate_outlives_the_ca_and_the_last_ones_are_reused(tmp_path: Path) -> None:
    short = settings(tmp_path, ca_validity_days=30)
    authority = Authority(short, lambda: NOW)
    issued = authority.issue(MAC)
    assert issued.certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc
    assert authority.issue(MAC).certificate == issued.certificate
    late = Authority(short, lambda: NOW + timedelta(days=31))
    assert "expired" in (late.check() or "")
    with pytest.raises(AuthorityError, match="expired"):
        late.issue(MAC)


@pytest.mark.parametrize("damage", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: bytes) -> None:
    authority = Authority(settings(tmp_path))
    first = authority.issue(MAC)
    (tmp_path / "certs" / "controllers" / f"{MAC}.pem").write_bytes(damage)
    assert authority.issue(MAC).certificate.serial_number != first.certificate.serial_number


def test_a_certificate_of_another_ca_is_replaced(tmp_path: Path) -> None:
    first = Authority(settings(tmp_path)).issue(MAC)
    (tmp_path / "certs" / "ca").rename(tmp_path / "old-ca")
    authority = Authority(settings(tmp_path))
    second = authority.issue(MAC)
    assert second.certificate != first.certificate
    second.certificate.verify_directly_issued_by(authority.certificate)


@pytest.mark.parametrize("missing", ["ca.key", "ca.crt"])
def test_half_a_ca_is_an_error_and_is_not_overwritten(tmp_path: Path, missing: str) -> None:
    Authority(settings(tmp_path))
    folder = tmp_path / "certs" / "ca"
    (folder / missing).unlink()
    left = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(AuthorityError, match=missing):
        Authority(settings(tmp_path))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == left


def test_threads_get_one_certificate(tmp_path: Path) -> None:
    authority = Authority(settings(tmp_path))
    with ThreadPoolExecutor(16) as pool:
        serials = set(pool.map(lambda _: authority.issue(MAC).certificate.serial_number, range(64)))
    assert len(serials) == 1


def test_processes_get_one_ca_and_one_certificate(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ISSUE_IN_A_PROCESS, str(tmp_path / "certs"), MAC]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    serials = {process.communicate()[0].splitlines()[-1] for process in processes}
    assert len(serials) == 1


def test_the_server_certificate_has_names_and_addresses(tmp_path: Path) -> None:
    folder = Authority(settings(tmp_path, server_names="localhost, 127.0.0.1,mosquitto,::1")).ensure_server()
    certificate = x509.load_pem_x509_certificate((folder / "server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "mosquitto"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize(
    ("names", "days", "kept"), [("localhost", 1, True), ("localhost,other", 1, False), ("localhost", 340, False)]
)
def test_the_server_certificate_is_made_anew_when_it_must(tmp_path: Path, names: str, days: int, kept: bool) -> None:
    folder = Authority(settings(tmp_path, server_names="localhost"), lambda: NOW).ensure_server()
    before = (folder / "server.crt").read_bytes()
    Authority(settings(tmp_path, server_names=names), lambda: NOW + timedelta(days=days)).ensure_server()
    assert ((folder / "server.crt").read_bytes() == before) is kept
