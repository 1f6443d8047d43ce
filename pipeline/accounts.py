"""Accounts of the database server for people and workers, with the rights of their role only.

The rights are on the schemas whose names begin with the project's prefix, those to come included.
Two projects on one server need prefixes of which none begins with the other.
"""

import os
import re
import secrets
import string
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha1
from pathlib import Path

import pymysql
from pymysql.constants import CLIENT
from pymysql.cursors import Cursor

from pipeline.address import address, is_this_machine
from pipeline.connection import driver_connection, explained
from pipeline.errors import UserError
from pipeline.server import Report
from pipeline.settings import Settings

NAME = r"[A-Za-z][A-Za-z0-9_.-]{0,31}"
HOST = r"[A-Za-z0-9_.:%/-]{1,60}"
MIN_LETTERS = 12
PASSWORD_LETTERS = frozenset(string.digits + string.ascii_letters + string.punctuation)


class AccountError(UserError):
    """An account that cannot be made, changed or removed; the message says why and what to do."""


class Role(StrEnum):
    """What an account is for."""

    ADMIN = "admin"
    WORKER = "worker"
    READER = "reader"


RIGHTS = {
    Role.ADMIN: ("ALL PRIVILEGES",),
    # No right to create, alter, drop or truncate a table.
    Role.WORKER: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    Role.READER: ("SELECT",),
}


@dataclass(frozen=True)
class Account:
    """An account with rights on the project's schemas.

    Attributes
    ----------
    name, host : str
        It is let in under this name from this host; ``%`` stands for any.
    role : Role or None
        None when its rights are those of no role.
    tls : bool
        Whether it is let in with TLS only.
    """

    name: str
    host: str
    role: Role | None
    tls: bool


@dataclass(frozen=True)
class Made:
    """What `Accounts.add` did.

    Attributes
    ----------
    account : Account
    new : bool
        False when it was there and got the rights of its role.
    password_file : Path or None
        Where a new password was written.
    """

    account: Account
    new: bool
    password_file: Path | None


class Accounts:
    """The accounts of one project, over one connection.

    Parameters
    ----------
    cursor : pymysql.cursors.Cursor
        Of an account that may create users and give them rights.
    settings : Settings
        Of the project.
    local : bool
        Whether the server is on this machine.
    """

    def __init__(self, cursor: Cursor, settings: Settings, local: bool) -> None:
        self._cursor = cursor
        self._folder = settings.home / "accounts"
        # As a pattern of names: an underscore would stand for any letter.
        self._schemas = settings.prefix.replace("_", r"\_") + "%"
        self._local = local

    def add(
        self,
        name: str,
        role: Role,
        host: str | None = None,
        tls: bool | None = None,
        password: str | None = None,
        password_file: Path | None = None,
        new_password: bool = False,
    ) -> Made:
        """Make an account, or give the one that is there the rights of a role.

        Parameters
        ----------
        name : str
        role : Role
        host : str, optional
            From where it is let in; by default from here if the server is on this machine, else
            from anywhere.
        tls : bool, optional
            Whether it is let in with TLS only; by default if `host` is not this machine.
        password : str, optional
            By default a new account gets a random one, and one that is there keeps its own.
        password_file : Path, optional
            Where a random password is written, for its owner's eyes only; by default
            ``<home>/accounts/<name>``.
        new_password : bool
            Give an account that is there a new random password.

        Raises
        ------
        AccountError
            If something of this does not fit, or the server refuses; nothing is changed then.
        """
        host = host or self._default_host()
        tls = not is_this_machine(host) if tls is None else tls
        self._check(name, host, password, tls)
        new = not self._exists(name, host)
        if not new:
            self._refuse_strangers(name, host)
        file = None
        if password is None and (new or new_password):
            file = (password_file or self._folder / name).absolute()
            if new and file.exists():
                raise AccountError(f"{file} exists: remove it, or use another --password-file")
            password = secrets.token_urlsafe(32)
        with _written(file, password):
            self._apply(name, host, role, tls, password, new)
        return Made(Account(name, host, role, tls), new, file)

    def all(self) -> list[Account]:
        """Return all accounts with rights on the project's schemas, by name and host."""
        self._cursor.execute("SELECT user, host FROM mysql.db WHERE db = %s", (self._schemas,))
        return [self._account(name, host) for name, host in sorted(self._cursor.fetchall())]

    def remove(self, name: str, host: str | None = None) -> list[Account]:
        """Take from an account its rights on the project, and drop it if it has no others.

        Open connections of its lose their rights at once.

        Parameters
        ----------
        name : str
        host : str, optional
            One of those that it is let in from; by default all.

        Returns
        -------
        list of Account
            The accounts as they were.

        Raises
        ------
        AccountError
            If there is none, or the server refuses.
        """
        found = [a for a in self.all() if a.name == name and host in (None, a.host)]
        if not found:
            raise AccountError(
                f"there is no account '{name}'{f' from {host}' if host else ''} of this project: "
                "`inceptionloop account list` shows them"
            )
        for account in found:
            self._refuse_strangers(account.name, account.host)
        for account in found:
            who = (account.name, account.host)
            self._change("REVOKE ALL PRIVILEGES ON {} FROM %s@%s", who)
            if not any(self._rights(f"{kind}_privileges", *who) for kind in ("schema", "table")):
                self._cursor.execute("DROP USER %s@%s", who)
        if not any(account.name == name for account in self.all()):
            (self._folder / name).unlink(missing_ok=True)
        return found

    # ---- what is there

    def _default_host(self) -> str:
        if not self._local:
            return "%"
        # As the server sees this machine, which depends on whether it looks up names.
        self._cursor.execute("SELECT SUBSTRING_INDEX(USER(), '@', -1)")
        return self._cursor.fetchone()[0]

    def _exists(self, name: str, host: str) -> bool:
        self._cursor.execute("SELECT 1 FROM mysql.user WHERE user = %s AND host = %s", (name, host))
        return self._cursor.fetchone() is not None

    def _account(self, name: str, host: str) -> Account:
        self._cursor.execute(
            "SELECT ssl_type <> '' FROM mysql.user WHERE user = %s AND host = %s", (name, host)
        )
        (tls,) = self._cursor.fetchone()
        return Account(name, host, self._role(name, host), bool(tls))

    def _role(self, name: str, host: str) -> Role | None:
        rights = self._rights("schema_privileges", name, host, self._schemas)
        for role in (Role.READER, Role.WORKER):
            if rights == set(RIGHTS[role]):
                return role
        # The words of 'all' differ from server to server.
        return Role.ADMIN if {"CREATE", "ALTER", "DROP", *RIGHTS[Role.WORKER]} <= rights else None

    def _rights(self, kind: str, name: str, host: str, schemas: str | None = None) -> set[str]:
        """Return the rights of an account on schemas, by default on any."""
        condition, wanted = ("", ()) if schemas is None else (" AND table_schema = %s", (schemas,))
        self._cursor.execute(
            f"SELECT privilege_type FROM information_schema.{kind} WHERE grantee = %s{condition}",
            (f"'{name}'@'{host}'", *wanted),
        )
        return {right for (right,) in self._cursor.fetchall()} - {"USAGE"}

    # ---- what is not done

    def _check(self, name: str, host: str, password: str | None, tls: bool) -> None:
        if not re.fullmatch(NAME, name):
            raise AccountError(
                f"'{name}' cannot be the name of an account: use a letter followed by at most 31 "
                "letters, digits, dots, hyphens or underscores"
            )
        if not re.fullmatch(HOST, host):
            raise AccountError(f"'{host}' is no host: write an address, a name, or % for any")
        if password is not None and (
            len(password) < MIN_LETTERS or not set(password) <= PASSWORD_LETTERS
        ):
            raise AccountError(
                f"that is no password: use at least {MIN_LETTERS} letters, digits and signs of "
                "ASCII, without spaces"
            )
        if tls and not self._cursor.connection.server_capabilities & CLIENT.SSL:
            raise AccountError(
                f"the server offers no TLS, so that nobody could enter as '{name}': give it a "
                "certificate, or use --no-tls if you trust the network"
            )

    def _refuse_strangers(self, name: str, host: str) -> None:
        """Leave accounts alone that administer the server, this one among them."""
        if self._rights("user_privileges", name, host):
            raise AccountError(
                f"'{name}'@'{host}' has rights on the whole server and is not an account of this "
                "project alone: use another name"
            )

    # ---- what is done

    def _apply(
        self, name: str, host: str, role: Role, tls: bool, password: str | None, new: bool
    ) -> None:
        who = (name, host)
        require = "REQUIRE SSL" if tls else "REQUIRE NONE"
        if password is None:
            self._cursor.execute(f"ALTER USER %s@%s {require}", who)
        else:
            verb = "CREATE" if new else "ALTER"
            identified, proof = self._identified(password)
            self._cursor.execute(f"{verb} USER %s@%s {identified} {require}", (*who, proof))
        try:
            # First what is given, so that work in progress keeps what it may do.
            self._change(f"GRANT {', '.join(RIGHTS[role])} ON {{}} TO %s@%s", who)
            if role is not Role.ADMIN:
                has = self._rights("schema_privileges", name, host, self._schemas)
                superfluous = sorted(has - set(RIGHTS[role]))
                if superfluous:
                    self._change(f"REVOKE {', '.join(superfluous)} ON {{}} FROM %s@%s", who)
        except pymysql.err.MySQLError:
            if new:
                self._cursor.execute("DROP USER %s@%s", who)
            raise

    def _identified(self, password: str) -> tuple[str, str]:
        # MySQL keeps passwords out of its logs; MariaDB writes what it is told.
        if "MariaDB" not in self._cursor.connection.get_server_info():
            return "IDENTIFIED BY %s", password
        digest = sha1(sha1(password.encode()).digest()).hexdigest()
        return "IDENTIFIED BY PASSWORD %s", f"*{digest.upper()}"

    def _change(self, statement: str, who: tuple[str, str]) -> None:
        schemas = f"`{self._schemas}`.*".replace("%", "%%")
        self._cursor.execute(statement.format(schemas), who)


@contextmanager
def open_accounts(
    settings: Settings | None = None, report: Report = lambda message: None
) -> Iterator[Accounts]:
    """Connect to the project's server to look at its accounts or change them.

    Parameters
    ----------
    settings : Settings, optional
        Of the project; by default from the environment.
    report : callable
        Told what is being done while a private server starts.

    Raises
    ------
    AccountError
        If the account that is used may not do what is asked.
    DatabaseUnavailable
        If the server does not answer.
    """
    settings = settings or Settings()
    target = address(settings, report)
    with explained(target):
        connection = driver_connection(target)
    try:
        with closing(connection), connection.cursor() as cursor:
            yield Accounts(cursor, settings, is_this_machine(target.host))
    except pymysql.err.MySQLError as error:
        raise AccountError(
            f"the server refuses this to '{target.user}': {error.args[-1]}. Accounts are made by "
            "one that has the right CREATE USER, may read the schema `mysql` and has its own "
            "rights WITH GRANT OPTION, as root or that of a private server"
        ) from error


@contextmanager
def _written(file: Path | None, password: str | None) -> Iterator[None]:
    """Keep a new password in a file if what is done with it meanwhile succeeds.

    Nobody but its owner can read the file at any time, and an old one stays until the end.
    """
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.unlink(missing_ok=True)
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{password}\n")
        yield
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
