"""The `web` command: a status page for the browser."""

import signal
import socket
import webbrowser
from types import FrameType
from typing import Annotated, Any

import typer

from pipeline.address import is_this_machine
from pipeline.commands.console import clear_errors, database, say, stderr
from pipeline.errors import UserError
from pipeline.settings import Settings

THREADS = 8
PORT = 8000


class CannotServe(UserError):
    """A page that cannot be offered at the address asked for; the message says why."""


def web(
    host: Annotated[str, typer.Option(help="Address of this machine to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = PORT,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Allow a host that others can reach.")
    ] = False,
) -> None:
    """Show progress, errors, models and images in a browser; nothing can be changed there.

    Example: inceptionloop web --open
    """
    with clear_errors(), _listen(host, port, no_password) as listening, database() as settings:
        local = is_this_machine(host)
        server = _server(settings, listening, local)
        url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
        if not local:
            stderr.print("[yellow]warning:[/yellow] no password protects this page")
        say(f"{url} shows this project; Ctrl-C ends it")
        if open_browser:
            webbrowser.open(url)
        signal.signal(signal.SIGTERM, _leave)
        server.run()


def _listen(host: str, port: int, no_password: bool) -> socket.socket:
    if not is_this_machine(host) and not no_password:
        raise CannotServe(
            f"at {host} everybody who reaches this machine could read all results, for the page "
            "has no password: add --no-password if they may; or leave --host out, and come by "
            f"`ssh -L {PORT}:127.0.0.1:{port} THIS_MACHINE`"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise CannotServe(
            f"cannot listen at {host}, port {port}: {error.strerror}. Another --port may be free"
        ) from error


def _server(settings: Settings, listening: socket.socket, local: bool) -> Any:
    """Return the server of the pages, ready to run."""
    try:
        import waitress

        from pipeline.web import create_app
        from pipeline.web.reader import Reader
    except ImportError as error:
        raise UserError(
            f"the page needs the package {error.name}: pip install 'inceptionloop[web]'"
        ) from error
    app = create_app(Reader(settings), loopback_only=local)
    return waitress.create_server(app, sockets=[listening], threads=THREADS, ident=None)


def _leave(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit
