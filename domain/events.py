"""The union of all events, and the upcasters that lift old versions to today's.

To add a noun: its union joins here. To change a shipped event: write the new version beside
it, move the old class to `RETIRED` with a typed function old -> new, keep its golden bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from domain.accounts import AccountEvent
from domain.allowances import AllowanceEvent, ResetEvent
from domain.api_keys import ApiKeyEvent
from domain.credit_events import CreditEvent
from domain.event import Event, stored_name
from domain.plans import PlanEvent
from domain.purchases import PurchaseEvent
from domain.retired_events import AccountRegisteredV1, account_registered_v2
from domain.sessions import SessionEvent
from domain.verification import UsageEvent

DecisionEvent = (
    AccountEvent
    | SessionEvent
    | ApiKeyEvent
    | PlanEvent
    | AllowanceEvent
    | ResetEvent
    | PurchaseEvent
    | CreditEvent
)
AnyEvent = DecisionEvent | UsageEvent

Upcaster = Callable[[Any], Event]
"""Typed at its definition (`def lift(old: FooV1) -> FooV2`); any event class fits here."""


class Catalogue:
    """Every event class that can be read, by its stored name, and how old ones are lifted."""

    def __init__(
        self, current: tuple[type[Event], ...], retired: Mapping[type[Event], Upcaster]
    ) -> None:
        self._current = frozenset(current)
        self._upcasters = dict(retired)
        self._by_name = {stored_name(each): each for each in (*current, *retired)}
        if len(self._by_name) != len(current) + len(retired):
            raise ValueError("two events share a stored name")

    def type_of(self, name: str) -> type[Event] | None:
        """The class that reads events of this stored name; None if there is none."""
        return self._by_name.get(name)

    def lift(self, event: Event) -> Event:
        """The event in today's version, through as many versions as lie between."""
        while type(event) not in self._current:
            event = self._upcasters[type(event)](event)
        return event

    def names(self) -> list[str]:
        """All stored names, sorted."""
        return sorted(self._by_name)


CURRENT: tuple[type[Event], ...] = (
    *get_args(AccountEvent),
    *get_args(SessionEvent),
    *get_args(ApiKeyEvent),
    *get_args(PlanEvent),
    *get_args(AllowanceEvent),
    ResetEvent,
    *get_args(PurchaseEvent),
    *get_args(CreditEvent),
    UsageEvent,
)

RETIRED: dict[type[Event], Upcaster] = {AccountRegisteredV1: account_registered_v2}

CATALOGUE = Catalogue(CURRENT, RETIRED)
