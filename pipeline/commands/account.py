"""``inceptionloop account``: accounts of the database server for people and workers."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipeline.accounts import Accounts, Made, Role, open_accounts
from pipeline.address import Address, address, read_secret
from pipeline.commands.console import clear_errors, console, say, stderr
from pipeline.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="Accounts of the database server for people and workers."
)

Name = Annotated[str, typer.Argument(help="Name of the account.")]


@app.command()
def add(
    name: Name,
    role: Annotated[
        Role, typer.Option(help="admin: may do all with the project; worker: change rows; reader.")
    ],
    host: Annotated[
        str | None,
        typer.Option(help="From where it is let in; by default % or, on this machine, from here."),
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option("--tls/--no-tls", help="With TLS only; by default from other machines."),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="Where to write the new password.")
    ] = None,
    password_from: Annotated[
        str | None, typer.Option(help="File that holds the password; - for standard input.")
    ] = None,
    new_password: Annotated[
        bool, typer.Option("--new-password", help="Also if the account is there already.")
    ] = False,
) -> None:
    """Make an account with the rights of a role; one that is there gets these rights.

    Example: inceptionloop account add anna --role reader
    """
    with clear_errors():
        given = _given_password(password_from) if password_from else None
        with _accounts() as accounts:
            made = accounts.add(name, role, host, tls, given, password_file, new_password)
        _explain(made, address(Settings()))


@app.command("list")
def show() -> None:
    """Show the accounts with rights on this project.

    Example: inceptionloop account list
    """
    with clear_errors():
        with _accounts() as accounts:
            found = accounts.all()
        table = Table("account", "from", "role", "TLS")
        for account in found:
            role = account.role or "other rights"
            tls = "required" if account.tls else "·"
            table.add_row(account.name, account.host, role, tls)
        console.print(table)


@app.command()
def remove(
    name: Name,
    host: Annotated[
        str | None, typer.Option(help="One of those that it is let in from; by default all.")
    ] = None,
) -> None:
    """Take an account's rights on this project, and drop it if it has no others.

    Example: inceptionloop account remove anna
    """
    with clear_errors():
        with _accounts() as accounts:
            removed = accounts.remove(name, host)
        for account in removed:
            say(f"{account.name} from {account.host} has no rights on this project any more")


@contextmanager
def _accounts() -> Iterator[Accounts]:
    status = stderr.status("Looking for the server")
    with status, open_accounts(report=status.update) as accounts:
        status.stop()
        yield accounts


def _given_password(source: str) -> str:
    if source != "-":
        return read_secret(Path(source), "--password-from")
    if sys.stdin.isatty():
        return getpass()
    return sys.stdin.readline().rstrip("\r\n")


def _explain(made: Made, server: Address) -> None:
    account = made.account
    how = "with TLS only" if account.tls else "also without TLS"
    done = "made" if made.new else "is up to date"
    say(f"account {account.name} ({account.role}) {done}: let in from {account.host}, {how}")
    say("to use it, set in the environment:")
    say(f"  DJ_HOST={server.host} DJ_PORT={server.port} DJ_USER={account.name}")
    if made.password_file:
        say(f"  DJ_PASS_FILE={made.password_file}    (the password, which only you can read)")
    else:
        say("  DJ_PASS_FILE=...    (a file that holds its password)")
