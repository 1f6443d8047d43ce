"""``inceptionloop server``: the private database server of this project."""

import json
import shlex
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.commands.console import clear_errors, stderr
from pipeline.object_store import store_spec
from pipeline.server import PrivateServer, ServerInfo
from pipeline.server_program import ServerError
from pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The private database server of this project.")

# Not on standard output, which `server env` gives to a shell.
console = stderr


@app.command()
def start(
    program: Annotated[
        str | None, typer.Option(help="Server program, by default a mysqld or mariadbd found here.")
    ] = None,
) -> None:
    """Start the server, or say where it runs already.

    Example: inceptionloop server start
    """
    with clear_errors(), console.status("Looking for the server") as status:
        server = PrivateServer(program=program).start(status.update)
    console.print(f"Running: {server.kind} {server.version} on {server.host}:{server.port}")


@app.command()
def stop() -> None:
    """Shut the server down.

    Example: inceptionloop server stop
    """
    with clear_errors(), console.status("Stopping the server"):
        stopped = PrivateServer().stop()
    console.print("Stopped" if stopped else "It was not running")


@app.command()
def status() -> None:
    """Say whether the server runs, and where its data lie.

    Example: inceptionloop server status
    """
    with clear_errors():
        server = PrivateServer().status()
    if server is None:
        Console().print("There is no private server yet: `inceptionloop server start` makes one")
        return
    rows = {
        "State": f"running (process {server.pid})" if server.pid else "stopped",
        "Program": f"{server.program} ({server.kind} {server.version})",
        "Address": f"{server.host}:{server.port}",
        "Data": f"{server.data_folder} ({server.data_bytes() / 1e6:.0f} MB)",
        "Log": str(server.log),
    }
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value)
    Console(soft_wrap=True).print(table)


@app.command()
def env() -> None:
    """Print the address and password for a shell.

    Example: eval "$(inceptionloop server env)"
    """
    with clear_errors():
        server = PrivateServer().status()
        if server is None or server.pid is None:
            raise ServerError("the private server is stopped: inceptionloop server start")
    for line in _shell_lines(server, Settings()):
        typer.echo(line)


def _shell_lines(server: ServerInfo, settings: Settings) -> Iterator[str]:
    store = store_spec(settings)
    variables = {
        "DJ_HOST": server.host,
        "DJ_PORT": str(server.port),
        "DJ_USER": server.user,
        "DJ_PASS": server.password,
        "DJ_STORES": json.dumps({"default": "main", "main": store}),
    }
    for name, value in variables.items():
        yield f"export {name}={shlex.quote(value)}"
    # In the environment and not among the arguments, where every user of the machine could read it.
    yield '# SQL: MYSQL_PWD="$DJ_PASS" mysql --host="$DJ_HOST" --port="$DJ_PORT" --user="$DJ_USER"'
