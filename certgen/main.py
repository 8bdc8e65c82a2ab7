"""The certificate service: makes the CA and Mosquitto's certificate, then answers POST /issue."""

import sys

import uvicorn

from faces2.certgen.api import create_app
from faces2.certgen.authority import Authority, AuthorityError
from faces2.service import logs
from faces2.service.settings import CertgenSettings, ServiceSettings, load
from faces2.service.shutdown import on_signals


def main(init_only: bool = False) -> None:
    """Serves until SIGTERM; with `init_only` ends when the CA and the server certificate are there."""
    settings = load(CertgenSettings)
    logs.configure("certgen", load(ServiceSettings).log_level)
    try:
        authority = Authority(settings)
        authority.ensure_server()
    except (AuthorityError, OSError) as error:
        logs.get_logger(__name__).error("no certificate authority", problem=str(error))
        sys.exit(1)
    if init_only:
        return
    on_signals()  # uvicorn raises the signal again when it has shut down: ours then ends the process with status 0
    app = create_app(authority)
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, access_log=False, lifespan="off")
