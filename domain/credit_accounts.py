"""An account's credits as they stand: what its entries fold to.

A lot is available from `credit.begun` (or its grant) to `credit.expired`. What a hold has set
aside is no longer in its lot's `left`; it comes back when the hold ends.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import assert_never

import msgspec

from domain.calendars import ETERNITY
from domain.credit_events import (
    CreditBegun,
    CreditCaptured,
    CreditDrawn,
    CreditEvent,
    CreditExpired,
    CreditGranted,
    CreditHeld,
    CreditReleased,
    CreditSpent,
    CreditWithdrawn,
    Part,
)
from domain.credit_lots import Hold, Lot, first_of


class CreditAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The credits of one account, after its last entry in the decisions log.

    `settled_used` is what verifications had spent in all when that was last written down;
    `entry_no` and `at_us` are those of the last entry here. `month_granted` is what the plan
    gave for `month`, the last month that it gave for.
    """

    account_id: str
    entry_no: int
    at_us: int
    lots: tuple[Lot, ...] = ()
    holds: tuple[Hold, ...] = ()
    settled_used: int = 0
    last_lot: int = 0
    month: int = 0
    month_granted: int = 0

    @property
    def begun(self) -> int:
        """What is left in lots that have begun, as it was last written down."""
        return sum(lot.left for lot in self.lots if lot.begun)

    @property
    def held(self) -> int:
        """What is set aside."""
        return sum(hold.amount for hold in self.holds)

    @property
    def upcoming(self) -> int:
        """What was granted and has not begun."""
        return sum(lot.left for lot in self.lots if not lot.begun)

    def lot(self, no: int) -> Lot:
        """The lot of this number."""
        return next(lot for lot in self.lots if lot.no == no)

    def hold(self, hold_id: str) -> Hold | None:
        """The hold of this id, if it is open."""
        return next((hold for hold in self.holds if hold.id == hold_id), None)

    def next_change_us(self) -> int:
        """When time alone will change what is available; ETERNITY if it won't."""
        return min(self._instants(), default=ETERNITY)

    def _instants(self) -> Iterator[int]:
        for hold in self.holds:
            yield hold.expires_at_us
        for lot in self.lots:
            if not lot.begun:
                yield lot.starts_at_us
            elif lot.left:
                yield lot.ends_at_us


def evolve(state: CreditAccount | None, event: CreditEvent, at: datetime) -> CreditAccount:
    """The account's credits after this entry."""
    if state is None:
        if not isinstance(event, CreditGranted):
            raise ValueError(f"{type(event).__name__} before credit.granted")
        state = CreditAccount(account_id=event.account_id, entry_no=0, at_us=0)
    changed = _changed(state, event)
    at_us = max(state.at_us, event.at_us)
    return msgspec.structs.replace(changed, entry_no=event.entry_no, at_us=at_us)


def _changed(state: CreditAccount, event: CreditEvent) -> CreditAccount:
    replace = msgspec.structs.replace
    match event:
        case CreditGranted():
            return _with_lot(state, event)
        case CreditBegun():
            lots = tuple(
                replace(lot, begun=True) if lot.no == event.lot else lot for lot in state.lots
            )
            return replace(state, lots=lots)
        case CreditExpired() | CreditWithdrawn():
            return _less(state, (Part(event.lot, event.amount),))
        case CreditDrawn():
            return replace(_less(state, event.parts), settled_used=event.used)
        case CreditSpent():
            return _less(state, event.parts)
        case CreditHeld():
            held = Hold(event.hold_id, event.parts, event.expires_at_us)
            return _less(replace(state, holds=(*state.holds, held)), event.parts)
        case CreditCaptured():
            return _tidied(_unheld(state, event.hold_id, event.amount))
        case CreditReleased():
            back = _more(state, event.parts)
            return _tidied(_unheld(back, event.hold_id, event.amount))
        case _:
            assert_never(event)


def _with_lot(state: CreditAccount, event: CreditGranted) -> CreditAccount:
    ends_at_us = ETERNITY if event.expires_at_us is None else event.expires_at_us
    lot = Lot(
        no=event.lot,
        priority=event.priority,
        left=event.amount,
        starts_at_us=event.starts_at_us,
        ends_at_us=ends_at_us,
        source=event.source,
        begun=event.starts_at_us <= event.at_us,
    )
    month, granted = state.month, state.month_granted
    if event.month is not None:
        granted = event.amount + (granted if event.month == month else 0)
        month = event.month
    return msgspec.structs.replace(
        state,
        lots=(*state.lots, lot),
        last_lot=event.lot,
        month=month,
        month_granted=granted,
    )


def _less(state: CreditAccount, parts: tuple[Part, ...]) -> CreditAccount:
    return _tidied(_more(state, tuple(Part(part.lot, -part.amount) for part in parts)))


def _more(state: CreditAccount, parts: tuple[Part, ...]) -> CreditAccount:
    by_lot = {part.lot: part.amount for part in parts}
    lots = tuple(
        msgspec.structs.replace(lot, left=lot.left + by_lot[lot.no]) if lot.no in by_lot else lot
        for lot in state.lots
    )
    return msgspec.structs.replace(state, lots=lots)


def _unheld(state: CreditAccount, hold_id: str, amount: int) -> CreditAccount:
    holds = []
    for each in state.holds:
        if each.id != hold_id:
            holds.append(each)
        elif rest := first_of(each.parts, amount)[1]:
            holds.append(msgspec.structs.replace(each, parts=rest))
    return msgspec.structs.replace(state, holds=tuple(holds))


def _tidied(state: CreditAccount) -> CreditAccount:
    """Without lots that nothing is left of, in them or in a hold."""
    held = {part.lot for each in state.holds for part in each.parts}
    lots = tuple(lot for lot in state.lots if lot.left or lot.no in held)
    return msgspec.structs.replace(state, lots=lots)
