"""The packages of credits that an operator sells, as the setting CREDIT_PACKAGES has them."""

import msgspec

from domain import purchases
from domain.credit_amounts import hundredths
from domain.errors import InvalidAmount, InvalidCommand
from domain.purchases import Package
from infra.secret_rules import SettingsError


class _Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    title: str
    credits: str
    price_minor: int
    currency: str
    expires_after_days: int | None = None


def parse(variable: str, raw: str) -> tuple[Package, ...]:
    """The packages of a JSON list, each as `GET /v1/credits/packages` shows it. SettingsError."""
    try:
        offers = msgspec.json.decode(raw, type=list[_Offer])
        return purchases.check([_package(offer) for offer in offers])
    except msgspec.DecodeError as error:
        raise SettingsError(f"{variable} must be a JSON list of packages: {error}.") from None
    except (InvalidAmount, InvalidCommand) as error:
        raise SettingsError(f"{variable}: {error.param} must be {error.reason}.") from None


def _package(offer: _Offer) -> Package:
    return Package(
        name=offer.name,
        title=offer.title,
        credits=hundredths(offer.credits, "credits"),
        price_minor=offer.price_minor,
        currency=offer.currency,
        expires_after_days=offer.expires_after_days,
    )
