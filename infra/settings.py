"""One frozen `Settings`, parsed once at the start; nothing below `main.py` reads the environment.

Each value comes from the first of: `TOLLHOUSE_X`, the file that `TOLLHOUSE_X_FILE` names, the same
two in `.env`, the default. An empty value counts as not set. Whatever is wrong stops the start with
one sentence that names the variable; a secret's value is never part of it.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from domain import purchases
from domain.purchases import Package
from infra import package_list, secret_rules
from infra.dotenv import read_dotenv
from infra.embedded.place import kept_secret
from infra.secret_rules import SettingsError as SettingsError
from infra.setting_checks import check_together
from infra.setting_kinds import (
    DatabaseUrl,
    Email,
    Flag,
    Key,
    LakeUrl,
    MailUrl,
    NatsUrl,
    Password,
    Port,
    Positive,
    Prefix,
    PublicUrl,
    RateLimitStorage,
    StripeSecret,
    Text,
    Throttle,
    description,
    is_secret,
)

PREFIX = "TOLLHOUSE_"

# Fixed names whose features come later: an operator may set them today without being refused.
LATER = (*("ARCHIVE_URL", "LOG_DIR"),)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that may differ between two installations. The names are those of the variables.

    `master_key` and `key_pepper` are 32 bytes, and empty only in development and test, until
    `development_secrets` has filled them; an empty `*_previous` means that nothing is rotating.
    """

    environment: Annotated[
        Literal["development", "test", "staging", "production"],
        Meta(description="development, test, staging or production"),
    ] = "development"
    data_dir: Path = Path("data")
    http_host: Text = "127.0.0.1"
    http_port: Port = 8080
    serve_processes: Annotated[int, Meta(ge=1, le=256, description="a number from 1 to 256")] = 1
    public_url: PublicUrl | None = None
    database_url: DatabaseUrl | None = None
    admin_database_url: DatabaseUrl | None = None
    nats_url: NatsUrl | None = None
    lake_url: LakeUrl | None = None
    s3_endpoint_url: PublicUrl | None = None
    s3_region: Text | None = None
    mail_url: MailUrl | None = None
    mail_from: Text | None = None
    mail_give_up_days: Annotated[int, Meta(ge=1, le=30, description="days, from 1 to 30")] = 3
    retention_usage_stream_days: Annotated[
        int, Meta(ge=1, le=3650, description="days, from 1 to 3650")
    ] = 7
    master_key: Key = b""
    master_key_previous: Key = b""
    key_pepper: Key = b""
    key_pepper_previous: Key = b""
    admin_email: Email | None = None
    admin_password: Password | None = None
    service_key: Password | None = None
    import_hmac_key: Password | None = None
    stripe_webhook_secret: StripeSecret | None = None
    stripe_webhook_secret_previous: StripeSecret | None = None
    test_payment_secret: Key = b""
    """Signs payments that nobody made; in development and test only, where it is made."""
    credit_packages: tuple[Package, ...] = purchases.SHIPPED
    trusted_proxies: tuple[str, ...] = ()
    rate_limit_per_minute: Annotated[
        int, Meta(ge=0, le=1_000_000, description="a number from 0 (no limit) to 1000000")
    ] = 60
    rate_limit_storage: RateLimitStorage = "memory"
    keys_per_hour: Throttle = 10
    otp_per_hour: Throttle = 5
    otp_per_hour_address: Throttle = 20
    failed_logins_per_hour: Throttle = 10
    global_failed_logins_per_hour: Throttle = 1000
    second_factors_per_hour: Throttle = 10
    totp_guesses_per_hour: Throttle = 10
    lockout_after: Throttle = 5
    lockout_seconds: Positive = 60
    lockout_max_seconds: Positive = 3600
    lockout_forget_seconds: Positive = 86_400
    known_network_days: Annotated[int, Meta(ge=1, le=3650, description="days, from 1 to 3650")] = 30
    ip_allow: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    close_grace_days: Annotated[int, Meta(ge=0, le=365, description="days, from 0 to 365")] = 30
    erasure_ledger: Path | None = None
    """The folder of the erasure ledger, where it isn't DATA_DIR/erasures."""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="debug, info, warning or error"),
    ] = "info"
    log_format: Annotated[Literal["console", "json"], Meta(description="console or json")] = "json"
    require_verified_email: Flag = True
    password_min_length: Annotated[
        int, Meta(ge=8, le=64, description="characters, from 8 to 64")
    ] = 10
    password_min_score: Annotated[int, Meta(ge=0, le=4, description="a score from 0 to 4")] = 3
    key_prefix: Prefix = "th"
    access_token_ttl_seconds: Positive = 900
    refresh_token_ttl_seconds: Positive = 604800
    sessions_per_account: Throttle = 200
    signing_key_days: Annotated[int, Meta(ge=2, le=3650, description="days, from 2 to 3650")] = 90
    argon2_memory_kib: Annotated[
        int, Meta(ge=7168, le=4194304, description="KiB, from 7168 (OWASP's least) to 4194304")
    ] = 19456
    argon2_time: Annotated[int, Meta(ge=1, le=100, description="a number from 1 to 100")] = 2
    argon2_parallelism: Annotated[int, Meta(ge=1, le=64, description="a number from 1 to 64")] = 1
    directory_max_staleness_ms: Annotated[
        int, Meta(ge=50, le=60000, description="milliseconds, from 50 to 60000")
    ] = 1000
    directory_max_keys: Annotated[
        int,
        Meta(ge=0, le=2**31 - 1, description="a number of keys, or 0 for all of them"),
    ] = 0
    failpoint: Text | None = None
    """Names a point in the code where the process kills itself; only with ENVIRONMENT=test."""

    @property
    def lenient(self) -> bool:
        """Whether this is somebody's own machine: secrets are made, addresses needn't be proven."""
        return self.environment in ("development", "test")

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"Settings({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [
            (name, "***" if is_secret(hint) and getattr(self, name) else getattr(self, name))
            for name, hint in _HINTS.items()
        ]


def load(environ: Mapping[str, str], dotenv: Path | None) -> Settings:
    """Settings as the operator set them, every value checked. Raises `SettingsError`."""
    from_file = read_dotenv(dotenv) if dotenv else {}
    _refuse_unknown({*environ, *from_file})
    given: dict[str, Any] = {
        name: _parse(name, hint, raw)
        for name, hint in _HINTS.items()
        if (raw := _lookup(name, environ, from_file))
    }
    easy = given.get("environment", "development") in ("development", "test")
    defaults = {"require_verified_email": not easy, "log_format": "console" if easy else "json"}
    settings = Settings(**{**defaults, **given})
    settings = msgspec.structs.replace(settings, data_dir=settings.data_dir.expanduser().absolute())
    check_together(settings)
    return settings


def development_secrets(settings: Settings) -> Settings:
    """Fills a missing master key and pepper from DATA_DIR/secrets, where they are made once.

    Outside development and test nothing is filled: `load` has refused to go on without them.
    """
    if not settings.lenient:
        return settings
    kept = {
        name: secret_rules.decode(name.upper(), kept_secret(settings.data_dir, name))
        for name in ("master_key", "key_pepper", "test_payment_secret")
        if not getattr(settings, name)
    }
    return msgspec.structs.replace(settings, **kept)


def _lookup(name: str, environ: Mapping[str, str], from_file: Mapping[str, str]) -> str:
    variable = PREFIX + name.upper()
    for source in (environ, from_file):
        if value := source.get(variable, "").strip():
            return value
        if path := source.get(f"{variable}_FILE", "").strip():
            try:
                return Path(path).read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it isn't text"
                raise SettingsError(
                    f"{variable}_FILE names {path}, which can't be read: {reason}."
                ) from None
    return ""


def _parse(name: str, hint: Any, raw: str) -> object:
    variable = PREFIX + name.upper()
    if hint is Path or hint == Path | None:
        return Path(raw)
    if hint == Key:
        return secret_rules.decode(name.upper(), raw)
    if name == "credit_packages":
        return package_list.parse(variable, raw)
    if name == "trusted_proxies":
        return secret_rules.networks(variable, raw)
    if name == "ip_allow":
        return secret_rules.exact_networks(variable, raw)
    if name == "cors_origins":
        return secret_rules.origins(variable, raw)
    try:
        return msgspec.convert(raw, hint, strict=False)
    except msgspec.ValidationError:
        shown = "and what is set is not" if is_secret(hint) else f"and {raw!r} is not"
        raise SettingsError(f"{variable} must be {description(hint)}, {shown}.") from None


def _refuse_unknown(names: set[str]) -> None:
    known = {*(name.upper() for name in _HINTS), *LATER}
    for variable in sorted(name for name in names if name.startswith(PREFIX)):
        name = variable.removeprefix(PREFIX)
        if name.removesuffix("_FILE") in known or name in known:
            continue
        if name.startswith("RETENTION_") and name.endswith("_DAYS"):
            continue
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {PREFIX}{near[0]}?" if near else " See .env.example for all names."
        raise SettingsError(f"{variable} is not a setting.{hint}")


_HINTS: dict[str, Any] = get_type_hints(Settings, include_extras=True)
