"""A wrong setting stops the start with one sentence; a secret's value is never shown."""

import base64
import os
import secrets
import stat
from pathlib import Path

import pytest

from application.ports import ThrottlePolicy
from infra.settings import Settings, SettingsError, development_secrets, load
from infra.throttle_settings import throttle_policy


def made() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def production(**more: str) -> dict[str, str]:
    return {
        "TOLLHOUSE_ENVIRONMENT": "production",
        "TOLLHOUSE_MASTER_KEY": made(),
        "TOLLHOUSE_KEY_PEPPER": made(),
    } | more


def test_nothing_set_gives_the_shipped_defaults() -> None:
    settings = load({"PATH": "/bin"}, None)
    assert settings.environment == "development"
    assert settings.http_port == 8080
    assert settings.data_dir == Path.cwd() / "data"
    assert settings.database_url is None
    assert settings.require_verified_email is False
    assert settings.log_format == "console"
    assert (settings.rate_limit_per_minute, settings.rate_limit_storage) == (60, "memory")
    assert settings.keys_per_hour == 10


def test_production_defaults_are_the_strict_ones() -> None:
    settings = load(production(), None)
    assert settings.require_verified_email is True
    assert settings.log_format == "json"
    assert len(settings.master_key) == 32


def test_environment_wins_over_file_over_dotenv_over_default(tmp_path: Path) -> None:
    named, dotenv = tmp_path / "prefix", tmp_path / ".env"
    named.write_text("fromfile\n")
    dotenv.write_text("# a comment\nexport TOLLHOUSE_KEY_PREFIX='fromdotenv'\nAWS_REGION=x\n")
    file = {"TOLLHOUSE_KEY_PREFIX_FILE": str(named)}
    assert load({}, None).key_prefix == "th"
    assert load({}, dotenv).key_prefix == "fromdotenv"
    assert load(file, dotenv).key_prefix == "fromfile"
    assert load(file | {"TOLLHOUSE_KEY_PREFIX": "env"}, dotenv).key_prefix == "env"
    assert load({"TOLLHOUSE_KEY_PREFIX": ""}, None).key_prefix == "th"
    assert load({}, tmp_path / "missing").key_prefix == "th"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HTTP_PORT", "80000", "a port from 0 to 65535"),
        ("HTTP_PORT", "http", "'http'"),
        ("SERVE_PROCESSES", "0", "from 1 to 256"),
        ("ENVIRONMENT", "prod", "development, test, staging or production"),
        ("REQUIRE_VERIFIED_EMAIL", "perhaps", "true or false"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d", "postgresql://"),
        ("NATS_URL", "hunter2", "nats://"),
        ("PUBLIC_URL", "example.com", "https://"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, nonsense", "10.0.0.0/8"),
        ("RATE_LIMIT_PER_MINUTE", "-1", "0 (no limit)"),
        ("KEYS_PER_HOUR", "-1", "0 (no limit)"),
        ("LOCKOUT_AFTER", "-1", "0 (no limit)"),
        ("LOCKOUT_SECONDS", "0", "above 0"),
        ("KNOWN_NETWORK_DAYS", "0", "from 1"),
        ("IP_ALLOW", "10.0.0.1/8", "10.0.0.0/8 is the whole network"),
        ("IP_ALLOW", "everybody", "2001:db8::/32"),
        ("CORS_ORIGINS", "*", "'*'"),
        ("CORS_ORIGINS", "https://app.example.com/", "https://app.example.com"),
        ("CORS_ORIGINS", "https://App.example.com", "https://app.example.com"),
        ("CORS_ORIGINS", "https://app.example.com:443", "https://app.example.com"),
        ("CORS_ORIGINS", "null", "'null'"),
        ("RATE_LIMIT_STORAGE", "memcached://hunter2@h", "redis://"),
        ("RATE_LIMIT_STORAGE", "redis:///hunter2", "redis://"),
        ("KEY_PREFIX", "Th-", "a-z"),
        ("ADMIN_EMAIL", "nobody", "an email address"),
        ("ADMIN_PASSWORD", "hunter2", "ADMIN_EMAIL"),
        ("MASTER_KEY", "hunter2!", "not base64"),
        ("KEY_PEPPER", base64.b64encode(b"short").decode(), "5 bytes"),
        ("FAILPOINT", "after_commit", "ENVIRONMENT=test only"),
        ("MASTER_KEY_FILE", "/nonexistent/key", "can't be read"),
        ("HTTP_PROT", "80", "Did you mean TOLLHOUSE_HTTP_PORT?"),
        ("NONSENSE", "80", "not a setting"),
    ],
)
def test_wrong_value_is_refused_by_name_and_reason(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load({f"TOLLHOUSE_{name}": value}, None)
    assert f"TOLLHOUSE_{name}" in str(refusal.value)
    assert says in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "weak", [bytes(32), bytes(range(32)), b"ab" * 16, b"correct horse battery staple 123"]
)
def test_secret_that_is_not_random_is_refused_with_a_way_to_make_one(weak: bytes) -> None:
    raw = base64.b64encode(weak).decode()
    with pytest.raises(SettingsError, match=r"TOLLHOUSE_MASTER_KEY.*python3 -c") as refusal:
        load({"TOLLHOUSE_MASTER_KEY": raw}, None)
    assert raw not in str(refusal.value)


@pytest.mark.parametrize("name", ["MASTER_KEY", "KEY_PEPPER"])
@pytest.mark.parametrize("environment", ["staging", "production"])
def test_missing_secret_stops_the_start_outside_development(name: str, environment: str) -> None:
    given = production(TOLLHOUSE_ENVIRONMENT=environment)
    del given[f"TOLLHOUSE_{name}"]
    with pytest.raises(SettingsError, match=f"TOLLHOUSE_{name} is required.*token_bytes"):
        load(given, None)


def test_pepper_must_differ_from_the_master_key() -> None:
    same = made()
    with pytest.raises(SettingsError, match="KEY_PEPPER is the same"):
        load(production(TOLLHOUSE_MASTER_KEY=same, TOLLHOUSE_KEY_PEPPER=same), None)


def test_short_service_key_is_refused_in_production_and_taken_in_development() -> None:
    assert load({"TOLLHOUSE_SERVICE_KEY": "short"}, None).service_key == "short"
    with pytest.raises(SettingsError, match="SERVICE_KEY"):
        load(production(TOLLHOUSE_SERVICE_KEY="short"), None)


def test_short_bucket_is_refused_with_how_long_one_is() -> None:
    with pytest.raises(SettingsError, match=r"LAKE_URL.*3 to 63 characters"):
        load({"TOLLHOUSE_LAKE_URL": "s3://b/p"}, None)


def test_names_of_later_features_are_accepted() -> None:
    load({"TOLLHOUSE_ARCHIVE_URL": "s3://x/y", "TOLLHOUSE_RETENTION_USAGE_DAYS": "3"}, None)


def test_failpoint_is_taken_in_the_test_environment() -> None:
    given = {"TOLLHOUSE_ENVIRONMENT": "test", "TOLLHOUSE_FAILPOINT": "after_commit"}
    assert load(given, None).failpoint == "after_commit"


def test_no_way_to_print_settings_shows_a_secret() -> None:
    master_key = made()
    settings = load(
        production(
            TOLLHOUSE_MASTER_KEY=master_key,
            TOLLHOUSE_ADMIN_EMAIL="a@example.com",
            TOLLHOUSE_ADMIN_PASSWORD="hunter2-hunter2",
            TOLLHOUSE_SERVICE_KEY="hunter2" * 6,
            TOLLHOUSE_DATABASE_URL="postgresql://u:hunter2@h/d",
            TOLLHOUSE_RATE_LIMIT_STORAGE="valkeys://:hunter2@h:6379/0",
            TOLLHOUSE_NATS_URL="nats://u:hunter2@h",
        ),
        None,
    )
    for shown in (repr(settings), str(settings), f"{settings}", str(settings.__rich_repr__())):
        assert "hunter2" not in shown
        assert repr(base64.b64decode(master_key)) not in shown
        assert "a@example.com" in shown


def test_development_secrets_are_made_once_and_kept_private(tmp_path: Path) -> None:
    settings = load({"TOLLHOUSE_DATA_DIR": str(tmp_path / "data")}, None)
    first, second = development_secrets(settings), development_secrets(settings)
    assert first == second
    assert len({first.master_key, first.key_pepper, b""}) == 3
    kept = tmp_path / "data" / "secrets"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.iterdir()} == {0o600}
    given = load(
        {"TOLLHOUSE_DATA_DIR": str(tmp_path / "data"), "TOLLHOUSE_KEY_PEPPER": made()}, None
    )
    assert development_secrets(given).key_pepper == given.key_pepper
    assert development_secrets(given).master_key == first.master_key


def test_production_makes_no_secrets(tmp_path: Path) -> None:
    settings = load(production(TOLLHOUSE_DATA_DIR=str(tmp_path)), None)
    assert development_secrets(settings) is settings
    assert not os.listdir(tmp_path)


def test_example_file_names_every_setting_and_no_other() -> None:
    text = Path(__file__).parents[2].joinpath(".env.example").read_text()
    for name in Settings.__struct_fields__:
        assert f"#TOLLHOUSE_{name.upper()}=" in text
    named = [line[1:].partition("=")[0] for line in text.splitlines() if line[:2] == "#T"]
    load(dict.fromkeys(named, ""), None)


def test_networks_and_origins_are_kept_as_they_are_compared() -> None:
    found = load(
        {
            "TOLLHOUSE_IP_ALLOW": "::ffff:10.0.0.0/104, 2001:DB8::/32,192.0.2.7",
            "TOLLHOUSE_CORS_ORIGINS": "https://app.example.com, http://localhost:5173",
        },
        None,
    )
    assert found.ip_allow == ("10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32")
    assert found.cors_origins == ("https://app.example.com", "http://localhost:5173")


def test_every_throttle_is_a_setting_that_reaches_the_use_cases() -> None:
    names = ThrottlePolicy.__struct_fields__
    given = {f"TOLLHOUSE_{name.upper()}": str(n) for n, name in enumerate(names, 1001)}
    policy = throttle_policy(load(given, None))
    assert [getattr(policy, name) for name in names] == list(range(1001, 1001 + len(names)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ADMIN_EMAIL", "a,b@c.example"),
        ("ADMIN_PASSWORD", "short"),
        ("SERVICE_KEY", "two.dots.make-a-token-of-it-and-not-a-key"),
        ("SERVICE_KEY", "th_live_" + "0" * 49),
        ("SERVICE_KEY", "k" * 513),
        ("SERVICE_KEY", "schlüssel" * 5),
        ("SERVICE_KEY", "with a space in the middle of the key"),
    ],
)
def test_what_could_never_work_stops_the_start_and_names_the_variable(
    name: str, value: str
) -> None:
    given = {"TOLLHOUSE_ADMIN_EMAIL": "ada@example.org", f"TOLLHOUSE_{name}": value}
    with pytest.raises(SettingsError, match=f"TOLLHOUSE_{name}"):
        load(given, None)
