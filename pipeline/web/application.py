"""The application of the status page: its parts, who may ask for what, errors as pages."""

import logging
from functools import partial

from flask import Flask, Response, abort, render_template, request
from jinja2 import StrictUndefined
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
)
from werkzeug.wrappers import Response as WSGIResponse

from pipeline.address import is_this_machine
from pipeline.errors import UserError
from pipeline.report.numbers import number, p_value, percent
from pipeline.web import (
    gallery,
    images,
    jobs,
    matrices,
    models,
    overview,
    provenance,
    rate_maps,
    units,
    views,
)
from pipeline.web.progress import Progress
from pipeline.web.reader import Reader, let_go
from pipeline.web.text import ago, duration, moment, short

PARTS = (
    overview,
    jobs,
    models,
    images,
    gallery,
    units,
    matrices,
    rate_maps,
    views,
    provenance,
)
METHODS = ("GET", "HEAD")
NAVIGATION = (
    ("Overview", "/"),
    ("Jobs", "/jobs"),
    ("Models", "/models"),
    ("MEIs", "/meis"),
    ("Units", "/units"),
    ("Matrices", "/matrices"),
    ("Rate maps", "/rate-maps"),
    ("Tables", "/views"),
)
KEPT_SECONDS = 300
"""Of the style sheet, in a browser."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

logger = logging.getLogger(__name__)


def create_app(reader: Reader, loopback_only: bool = True) -> Flask:
    """Make the application.

    Parameters
    ----------
    reader : Reader
        Of the database.
    loopback_only : bool
        Whether only this machine may be asked for by name, as a page of another site that has its
        name resolve to 127.0.0.1 would not.
    """
    app = Flask(__name__)
    app.jinja_env.undefined = StrictUndefined
    # By default only what ends in .html is escaped.
    app.jinja_env.autoescape = True
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters |= {
        "number": number,
        "percent": percent,
        "p_value": p_value,
        "ago": ago,
        "duration": duration,
        "moment": moment,
        "short": short,
    }
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = KEPT_SECONDS
    app.extensions["reader"] = reader
    app.extensions["progress"] = Progress(reader)
    for part in PARTS:
        app.register_blueprint(part.blueprint)

    app.before_request(partial(_admit, loopback_only))
    app.after_request(_protected)
    app.teardown_request(let_go)
    app.context_processor(_navigation)
    app.register_error_handler(HTTPException, _error_page)
    app.register_error_handler(UserError, _unavailable)
    app.register_error_handler(Exception, _unexpected)
    return app


def _admit(loopback_only: bool) -> None:
    """Refuse what does not only read, and names of other machines."""
    if request.method not in METHODS:
        raise MethodNotAllowed(METHODS, "This page only reads.")
    if loopback_only and not is_this_machine(_host_name(request.host)):
        abort(400, f"This page is not '{request.host}': ask for 127.0.0.1 or localhost.")


def _protected(response: Response) -> Response:
    response.headers.update(HEADERS)
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response


def _navigation() -> dict[str, object]:
    return {"navigation": NAVIGATION, "place": f"/{request.path.split('/')[1]}"}


def _host_name(host: str) -> str:
    """Return the name of a host without its port, an address of IPv6 without its brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _error_page(error: HTTPException) -> WSGIResponse:
    if isinstance(error, NotFound) and error.description == NotFound.description:
        error.description = f"There is nothing at {request.path}."
    response = error.get_response(request.environ)
    if response.status_code >= BadRequest.code:
        response.data = render_template("error.html.j2", error=error)
        response.content_type = "text/html; charset=utf-8"
    return response


def _unavailable(error: UserError) -> WSGIResponse:
    """Say in one line what is wrong with the database."""
    return _error_page(ServiceUnavailable(str(error)))


def _unexpected(error: Exception) -> WSGIResponse:
    logger.error("%s failed", request.path, exc_info=error)
    said = "This page has failed; the log of `inceptionloop web` says why."
    return _error_page(InternalServerError(said))
