"""The certificate API: POST /issue, GET /health and what every service has; bad input is a 400 that names its fault."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field

from faces2.certgen.authority import Authority, Issued
from faces2.certgen.body_limit import BodyLimit
from faces2.certgen.certificates import certificate_pem, key_pem
from faces2.models.mac import colon_mac, compact_mac
from faces2.service.health import routes


class IssueRequest(BaseModel):
    """Which controller asks."""

    mac: Annotated[str, Field(max_length=64, examples=["aa:bb:cc:dd:ee:01"]), AfterValidator(compact_mac)]


class IssueResponse(BaseModel):
    """The certificate, its key and the CA's certificate, each as PEM."""

    mac: str
    client_cert: str
    private_key: str
    ca_cert: str
    expires_at: datetime


def create_app(authority: Authority) -> FastAPI:
    """The API over `authority`."""
    app = FastAPI(title="FACES2 certificates", redoc_url=None)
    app.add_middleware(BodyLimit)
    app.include_router(routes({"ca": authority.check}))

    @app.post("/issue")
    def issue(request: IssueRequest) -> IssueResponse:
        return _response(authority.issue(request.mac))

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.exception_handler(RequestValidationError)
    async def bad_input(_request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": explain(error.errors())}, status_code=400)

    return app


def explain(errors: Sequence[Any]) -> str:
    """`mac: Field required; …` from FastAPI's list of errors."""
    return "; ".join(f"{_place(error['loc'])}: {error['msg']}" for error in errors)


def _place(location: Sequence[int | str]) -> str:
    """`("body", "mac")` -> `mac`; the position inside text that is no JSON says nothing, so it is `body`."""
    return ".".join(part for part in location[1:] if isinstance(part, str)) or "body"


def _response(issued: Issued) -> IssueResponse:
    return IssueResponse(
        mac=colon_mac(issued.mac),
        client_cert=certificate_pem(issued.certificate).decode(),
        private_key=key_pem(issued.key).decode(),
        ca_cert=certificate_pem(issued.ca).decode(),
        expires_at=issued.certificate.not_valid_after_utc,
    )
