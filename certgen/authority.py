"""The certificate authority: its own key, Mosquitto's certificate and one certificate a controller.

<dir>/ca/             0700  ca.key (0600), ca.crt: made once, as one, and never written again
<dir>/controllers/    0700  <mac>.pem (0600): key and certificate in one file, so they always belong together
<dir>/mosquitto/      0755  server.key (0640), server.crt, ca.crt
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from faces2.certgen import certificates, files
from faces2.models.mac import compact_mac
from faces2.service.logs import get_logger
from faces2.service.settings import CertgenSettings

log = get_logger(__name__)


class AuthorityError(RuntimeError):
    """The CA can not be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What a controller gets; the key is not shown by repr."""

    mac: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    ca: x509.Certificate

    def __repr__(self) -> str:
        return f"Issued({self.mac}, until {self.certificate.not_valid_after_utc:%Y-%m-%d})"


class Ending(NamedTuple):
    """Until when a certificate is valid; `of` is ca, server or controller."""

    of: str
    name: str
    until: datetime


class Authority:
    """Issues certificates from the CA in `settings.dir`, which it makes at its first start."""

    def __init__(self, settings: CertgenSettings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._clock = clock
        self._controllers = files.make_folder(files.make_folder(settings.dir, 0o755) / "controllers", 0o700)
        self._key, self.certificate = self._open_ca(settings.dir / "ca")

    def check(self) -> str | None:
        """What keeps the CA from issuing, or None."""
        expires = self.certificate.not_valid_after_utc
        return f"the CA expired on {expires:%Y-%m-%d}" if expires <= self._clock() else None

    def issue(self, mac: str) -> Issued:
        """The controller's certificate: the present one while it is good, else a new one; ValueError for no MAC."""
        mac = compact_mac(mac)
        self._require_valid_ca()
        path = self._controllers / f"{mac}.pem"
        with files.locked(path.with_suffix(".lock")):
            present = _read_pair(path, path)
            if present and self._is_good(present[1]):
                return Issued(mac, present[1], present[0], self.certificate)
            key = certificates.new_key()
            certificate = self._sign(key, mac, [x509.DNSName(f"f2-{mac}")], server=False)
            files.replace(path, certificates.key_pem(key) + certificates.certificate_pem(certificate), files.PRIVATE)
        log.info("certificate issued", mac=mac, expires=certificate.not_valid_after_utc.isoformat())
        return Issued(mac, certificate, key, self.certificate)

    @property
    def renew_before(self) -> timedelta:
        """How long before its end a certificate is made anew."""
        return timedelta(days=min(self._settings.renew_before_days, self._settings.validity_days / 3))

    def ends(self) -> Iterator[Ending]:
        """Until when each certificate is valid; a damaged one is left out: it is made anew when it is asked for."""
        yield Ending("ca", "ca", self.certificate.not_valid_after_utc)
        server = self._settings.dir / "mosquitto" / "server.crt"
        controllers = (("controller", path) for path in self._controllers.glob("*.pem"))
        for of, path in chain([("server", server)], controllers):
            with suppress(OSError, ValueError):
                yield Ending(of, path.stem, x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc)

    def ensure_server(self) -> Path:
        """The folder with Mosquitto's key and certificate, made anew when near expiry or for other names."""
        self._require_valid_ca()
        folder = files.make_folder(self._settings.dir / "mosquitto", 0o755)
        names = certificates.alternative_names(self._settings.server_names)
        if not names:
            raise AuthorityError("CERTGEN_SERVER_NAMES is empty: it names Mosquitto, e.g. localhost,127.0.0.1")
        with files.locked(self._settings.dir / "mosquitto.lock"):
            present = _read_pair(folder / "server.key", folder / "server.crt")
            if not (present and self._is_good(present[1]) and certificates.names_of(present[1]) == names):
                key = certificates.new_key()
                certificate = self._sign(key, "mosquitto", names, server=True)
                files.replace(folder / "server.key", certificates.key_pem(key), files.GROUP_READABLE)
                files.replace(folder / "server.crt", certificates.certificate_pem(certificate), files.PUBLIC)
                log.info("server certificate made", names=self._settings.server_names)
            files.replace(folder / "ca.crt", certificates.certificate_pem(self.certificate), files.PUBLIC)
        return folder

    def _require_valid_ca(self) -> None:
        if problem := self.check():
            raise AuthorityError(f"{problem}: move {self._settings.dir / 'ca'} away, and a new one is made at start")

    def _sign(
        self, key: ec.EllipticCurvePrivateKey, common_name: str, names: list[x509.GeneralName], server: bool
    ) -> x509.Certificate:
        return certificates.leaf(
            key.public_key(),
            common_name=common_name,
            names=names,
            usage=certificates.SERVER if server else certificates.CLIENT,
            issuer=self.certificate,
            issuer_key=self._key,
            now=self._clock(),
            validity=timedelta(days=self._settings.validity_days),
        )

    def _is_good(self, certificate: x509.Certificate) -> bool:
        """Whether this CA signed it and it is long enough valid (or as long as a new one could be)."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        left = certificate.not_valid_after_utc - self._clock()
        ends_with_ca = certificate.not_valid_after_utc >= self.certificate.not_valid_after_utc
        return left > self.renew_before or (ends_with_ca and left > timedelta(0))

    def _open_ca(self, folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        with files.locked(self._settings.dir / "ca.lock"):
            if not folder.exists():
                self._create_ca(folder)
        key, certificate = folder / "ca.key", folder / "ca.crt"
        for missing, other in ((key, certificate), (certificate, key)):
            if not missing.exists():
                raise AuthorityError(f"{missing} is missing, though {other.parent} exists: put it back from a backup")
        pair = _read_pair(key, certificate)
        if pair is None:
            raise AuthorityError(f"{key} and {certificate} can not be read or do not belong together")
        return pair

    def _create_ca(self, folder: Path) -> None:
        """Key and certificate appear together: the folder gets its name when both are on disk."""
        validity = timedelta(days=self._settings.ca_validity_days)
        key = certificates.new_key()
        certificate = certificates.self_signed_ca(key, "FACES2 CA", self._clock(), validity)
        fresh = Path(tempfile.mkdtemp(prefix=".ca-", dir=folder.parent))  # mode 0700
        try:
            files.create(fresh / "ca.key", certificates.key_pem(key), files.PRIVATE)
            files.create(fresh / "ca.crt", certificates.certificate_pem(certificate), files.PUBLIC)
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        _sync_folder(folder.parent)
        log.info("CA made", folder=str(folder), expires=certificate.not_valid_after_utc.isoformat())


def _read_pair(key_file: Path, certificate_file: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None:
    """A key and its certificate, or None where one is missing, damaged or not the other's."""
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    return key, certificate


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
