"""The certificate service: makes the CA and Mosquitto's certificate, then answers POST /issue."""

import sys
import threading

import uvicorn

from faces2.certgen.api import create_app
from faces2.certgen.authority import Authority, AuthorityError
from faces2.certgen.expiry import watch
from faces2.service import logs
from faces2.service.settings import CertgenSettings, ServiceSettings, load
from faces2.service.shutdown import on_signals

DAY = 86_400.0

log = logs.get_logger(__name__)


def main(init_only: bool = False) -> None:
    """Serves until SIGTERM; with `init_only` ends when the CA and the server certificate are there."""
    settings = load(CertgenSettings)
    logs.configure("certgen", load(ServiceSettings).log_level)
    try:
        authority = Authority(settings)
        authority.ensure_server()
    except (AuthorityError, OSError) as error:
        log.error("no certificate authority", problem=str(error))
        sys.exit(1)
    if init_only:
        return
    # uvicorn raises the signal again when it has shut down: ours then ends the process with status 0.
    stop = on_signals()
    threading.Thread(target=keep_current, args=(authority, stop), daemon=True).start()
    threading.Thread(target=watch, args=(authority, stop), daemon=True).start()
    app = create_app(authority)
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, access_log=False, lifespan="off")


def keep_current(authority: Authority, stop: threading.Event, every: float = DAY) -> None:
    """Renews Mosquitto's certificate when its time has come; Mosquitto takes the new one at SIGHUP."""
    while not stop.wait(every):
        try:
            authority.ensure_server()
        except (AuthorityError, OSError) as error:
            log.error("Mosquitto's certificate can not be renewed", problem=str(error))
