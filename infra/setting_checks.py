"""What settings must be together, each of them right by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain import claims
from domain.errors import InvalidCommand
from domain.key_format import MAX_PRESENTED_CHARACTERS, looks_forged
from infra import secret_rules
from infra.mail.place import mail_from, mail_place
from infra.secret_rules import SettingsError

if TYPE_CHECKING:
    from infra.settings import Settings


def check_together(settings: Settings) -> None:
    """Refuse, with a SettingsError, what one value makes of another, or of the environment."""
    _check_powers(settings)
    mail_place(settings.mail_url, settings.data_dir)
    mail_from(settings.mail_from, settings.public_url)
    _check_admin(settings)
    _check_service_key(settings)
    _check_secrets(settings)


def _check_powers(settings: Settings) -> None:
    """What is only for tests stays there, and what needs another is not alone."""
    if settings.failpoint and settings.environment != "test":
        raise SettingsError(
            "TOLLHOUSE_FAILPOINT makes the process kill itself:"
            " it is allowed with TOLLHOUSE_ENVIRONMENT=test only."
        )
    if settings.test_payment_secret and not settings.lenient:
        raise SettingsError(
            "TOLLHOUSE_TEST_PAYMENT_SECRET lets whoever knows it have credits for nothing:"
            " it is allowed in development and test only."
        )
    if settings.stripe_webhook_secret_previous and not settings.stripe_webhook_secret:
        raise SettingsError(
            "TOLLHOUSE_STRIPE_WEBHOOK_SECRET_PREVIOUS is set without"
            " TOLLHOUSE_STRIPE_WEBHOOK_SECRET."
        )


def _check_admin(settings: Settings) -> None:
    if settings.admin_password and not settings.admin_email:
        raise SettingsError("TOLLHOUSE_ADMIN_PASSWORD is set without TOLLHOUSE_ADMIN_EMAIL.")
    if settings.admin_email:
        try:
            claims.email(settings.admin_email)
        except InvalidCommand:
            raise SettingsError("TOLLHOUSE_ADMIN_EMAIL is not an email address.") from None
    least = settings.password_min_length
    if settings.admin_password and not least <= len(settings.admin_password) <= 128:
        raise SettingsError(f"TOLLHOUSE_ADMIN_PASSWORD must have {least} to 128 characters.")


def _check_service_key(settings: Settings) -> None:
    if settings.service_key and not _presentable(settings.service_key):
        raise SettingsError(
            "TOLLHOUSE_SERVICE_KEY can't be presented as a key: printable ASCII of at most"
            f" {MAX_PRESENTED_CHARACTERS} characters, without spaces, not two dots (that is a"
            " token), and in the shape of a Tollhouse key only with its right checksum."
        )
    if settings.service_key and len(settings.service_key) < 32 and not settings.lenient:
        raise SettingsError("TOLLHOUSE_SERVICE_KEY is shorter than 32 characters: too weak.")


def _check_secrets(settings: Settings) -> None:
    if settings.master_key and settings.master_key == settings.key_pepper:
        raise SettingsError(
            "TOLLHOUSE_KEY_PEPPER is the same as TOLLHOUSE_MASTER_KEY: each must be its own secret."
            f" Make one with: {secret_rules.MAKE_ONE}"
        )
    if settings.lenient:
        return
    for name in ("master_key", "key_pepper"):
        if not getattr(settings, name):
            raise SettingsError(
                f"TOLLHOUSE_{name.upper()} is required when TOLLHOUSE_ENVIRONMENT is"
                f" {settings.environment}. Make one with: {secret_rules.MAKE_ONE}"
            )


def _presentable(key: str) -> bool:
    """Whether the doors would take this for an API key, and look it up."""
    plain = key.isascii() and key.isprintable() and " " not in key
    fits = len(key) <= MAX_PRESENTED_CHARACTERS and key.count(".") != 2
    return plain and fits and not looks_forged(key)
