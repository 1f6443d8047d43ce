"""How a server is entered: passwords from files, and TLS that is required and verified."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from pipeline import address as address_module
from pipeline.address import DatabaseUnavailable, address
from pipeline.connection import connect, driver_connection
from pipeline.server import PrivateServer
from pipeline.server_program import command_line
from pipeline.settings import Settings

# A name of the loopback that is not taken for it, as that of another machine would not be.
ELSEWHERE = "127.1"
PASSWORD = "a-password-of-tests"


@pytest.fixture
def remote(monkeypatch):
    """An address in the environment, of another machine."""
    for name, value in {"HOST": "db.example.org", "USER": "anna", "PASS": PASSWORD}.items():
        monkeypatch.setenv(f"DJ_{name}", value)
    return monkeypatch


# --- secrets


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text(f"{PASSWORD}\n")
    return file


def test_the_password_may_be_in_a_file(remote, secret):
    remote.delenv("DJ_PASS")
    remote.setenv("DJ_PASS_FILE", str(secret))
    assert address(Settings()).password == PASSWORD
    assert PASSWORD not in repr(address(Settings()))


def test_a_file_and_a_password_are_too_much(remote, secret):
    remote.setenv("DJ_PASS_FILE", str(secret))
    with pytest.raises(DatabaseUnavailable, match="both DJ_PASS and DJ_PASS_FILE"):
        address(Settings())


def test_a_file_that_everybody_can_read_is_refused_unless_it_is_mounted(remote, secret):
    remote.delenv("DJ_PASS")
    remote.setenv("DJ_PASS_FILE", str(secret))
    secret.chmod(0o644)
    with pytest.raises(DatabaseUnavailable, match=f"chmod 600 {secret}") as caught:
        address(Settings())
    assert PASSWORD not in str(caught.value)
    # where Docker and Kubernetes put secrets, everybody is one user
    remote.setattr(address_module, "MOUNTED_SECRETS", (secret.parent,))
    assert address(Settings()).password == PASSWORD


def test_a_file_that_is_not_there_is_named(remote, tmp_path):
    remote.delenv("DJ_PASS")
    remote.setenv("DJ_PASS_FILE", str(tmp_path / "no"))
    with pytest.raises(DatabaseUnavailable, match=f"{tmp_path / 'no'}, which cannot be read"):
        address(Settings())


# --- TLS: what is asked for


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_tls_is_optional(host):
    assert address_module.is_this_machine(host)


@pytest.mark.parametrize("host", ["db", "10.0.0.1", "localhost.example.org", "127.1", ""])
def test_every_other_host_is_another_machine(host):
    assert not address_module.is_this_machine(host)


def test_to_other_machines_tls_is_required(remote):
    assert address(Settings()).tls
    remote.setenv("DJ_USE_TLS", "false")
    assert address(Settings()).tls is None
    remote.setenv("DJ_HOST", "127.0.0.1")
    remote.delenv("DJ_USE_TLS")
    assert address(Settings()).tls is None
    remote.setenv("DJ_USE_TLS", "true")
    assert address(Settings()).tls


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DJ_USE_TLS": "perhaps"}, "DJ_USE_TLS is 'perhaps'"),
        ({"DJ_TLS_CA": "/no/ca.pem"}, "DJ_TLS_CA is /no/ca.pem, which cannot be read"),
        ({"DJ_TLS_CA": __file__, "DJ_USE_TLS": "false"}, "unset one of them"),
    ],
)
def test_what_contradicts_itself_is_refused(remote, variables, message):
    for name, value in variables.items():
        remote.setenv(name, value)
    with pytest.raises(DatabaseUnavailable, match=message):
        address(Settings())


def test_certificates_that_are_none_are_named(remote, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    remote.setenv("DJ_TLS_CA", str(tmp_path / "ca.pem"))
    with pytest.raises(DatabaseUnavailable, match=r"no connection .* DJ_TLS_CA must hold"):
        connect()


# --- TLS: what happens


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two authorities, and certificates of the first for two names."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    for name in ("ca", "another"):
        subject = ("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        openssl(folder, "req", "-x509", *key, *subject)
    for name, host in (("server", ELSEWHERE), ("misnamed", "db.example.org")):
        openssl(
            folder, "req", "-x509", *key, "-CA", "ca.pem", "-CAkey", "ca.key",
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{host}",
            "-keyout", f"{name}.key", "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def server(server_program, certificates):
    """A private server, whose program can be started again with other options."""
    home = Path(tempfile.mkdtemp(prefix="inceptionloop-tls-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INCEPTIONLOOP_HOME", str(home))
        if server_program:
            patch.setenv("INCEPTIONLOOP_MYSQLD", server_program)
        private = PrivateServer()
        private.start()
        yield private
        private.stop()
        shutil.rmtree(home)


def restarted(server, monkeypatch, *options):
    """Restart a server with options of its program, and give its address to the environment."""
    server.stop()

    def with_options(*arguments):
        return [*command_line(*arguments), *options]

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.server.command_line", with_options)
        info = server.start()
    for name, value in {"PORT": str(info.port), "USER": info.user, "PASS": info.password}.items():
        monkeypatch.setenv(f"DJ_{name}", value)
    monkeypatch.setenv("DJ_HOST", ELSEWHERE)
    return info


def certified(folder, name):
    return [
        f"--ssl-{option}={folder / file}"
        for option, file in (("ca", "ca.pem"), ("cert", f"{name}.pem"), ("key", f"{name}.key"))
    ]


CIPHERS = """
from contextlib import closing
import datajoint as dj
from pipeline.connection import connect, driver_connection
connect()
show = "SHOW STATUS LIKE 'Ssl_cipher'"
print(dj.conn().query(show).fetchone()[1] or "none")
with closing(driver_connection()) as connection, connection.cursor() as cursor:
    cursor.execute(show)
    print(cursor.fetchone()[1] or "none")
dj.conn().close()
dj.conn().connect()
print(dj.conn().query(show).fetchone()[1] or "none")
"""


def ciphers():
    """Return what DataJoint, the plain driver, and DataJoint once more after a loss use."""
    done = subprocess.run(
        [sys.executable, "-c", CIPHERS],
        env=os.environ | {"DJ_IGNORE_CONFIG_FILE": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_server_that_proves_its_name_is_entered(server, certificates, monkeypatch):
    restarted(server, monkeypatch, *certified(certificates, "server"))
    monkeypatch.setenv("DJ_TLS_CA", str(certificates / "ca.pem"))
    assert all(cipher.startswith("TLS_") for cipher in ciphers())
    monkeypatch.delenv("DJ_TLS_CA")
    assert all(cipher.startswith("TLS_") for cipher in ciphers())
    # another authority
    monkeypatch.setenv("DJ_TLS_CA", str(certificates / "another.pem"))
    with pytest.raises(DatabaseUnavailable, match="CERTIFICATE_VERIFY_FAILED") as caught:
        connect()
    assert os.environ["DJ_PASS"] not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_with_another_name_is_refused(server, certificates, monkeypatch):
    restarted(server, monkeypatch, *certified(certificates, "misnamed"))
    monkeypatch.setenv("DJ_TLS_CA", str(certificates / "ca.pem"))
    with pytest.raises(DatabaseUnavailable, match=r"not valid for '127\.1'.*must be for the name"):
        connect()


def test_a_server_without_tls_is_refused_unless_it_is_said(server, monkeypatch):
    if server.status().kind == "mysql":
        pytest.skip("MySQL always offers TLS")
    restarted(server, monkeypatch, "--skip-ssl")
    with pytest.raises(DatabaseUnavailable, match=r"TLS is required .* DJ_USE_TLS"):
        connect()
    monkeypatch.setenv("DJ_USE_TLS", "false")
    assert ciphers() == ["none"] * 3


def test_the_plain_driver_goes_where_it_is_told(server, certificates, monkeypatch):
    restarted(server, monkeypatch, *certified(certificates, "server"))
    with closing(driver_connection(address(Settings()))) as connection:
        assert connection.get_autocommit()
