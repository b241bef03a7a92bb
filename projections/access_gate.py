"""What ends access tokens before their time, in memory: raised epochs, accounts that are not
active, sessions that ended.

Nothing is held of an account in its first state (active, nothing ever revoked), which is most of
them; of another one 16 bytes of id, 4 of epoch and status, and its place in an index: less than
64 in all. A session that ended is held for as long as a token of its could live.
"""

from array import array
from collections import deque
from datetime import datetime
from typing import Literal, get_args

from projections.packed_index import PackedIndex
from projections.packing import ID_BYTES, packed_id

Access = Literal["active", "suspended", "closed", "erased", "unreadable"]
_STATUSES: tuple[Access, ...] = get_args(Access)
_HASH_AT = 12
_STATUS_BITS = 3
_MOST_EPOCH = 2 ** (32 - _STATUS_BITS) - 1
SLACK_SECONDS = 120
"""Clocks that disagree, and the leeway that tokens are given."""


class AccessGate:
    """Implements application.session_ports.AccessGate. One event loop's; fed by the key directory,
    step by step with everything else that follows the log.
    """

    def __init__(self) -> None:
        self.keep_for(900)
        self._ids = PackedIndex(ID_BYTES, _HASH_AT)
        self._held = array("I")
        self._odd: dict[str, tuple[int, Access]] = {}
        self._over: set[str] = set()
        self._unreadable: set[str] = set()
        self._order: deque[tuple[float, str]] = deque()

    def keep_for(self, lifetime_seconds: float) -> None:
        """So long a token lives, and the end of its session matters."""
        self.keep_seconds = lifetime_seconds + SLACK_SECONDS

    def __len__(self) -> int:
        return len(self._ids) + len(self._odd)

    def epoch(self, account_id: str) -> int:
        """Tokens of a lower epoch have ended."""
        return self._of(account_id)[0]

    def access(self, account_id: str) -> Access:
        """Whether the account may do anything at all."""
        return self._of(account_id)[1]

    def is_over(self, session_id: str) -> bool:
        """Whether the session has ended, and not so long ago that its tokens have, too."""
        return session_id in self._over or session_id in self._unreadable

    def keep(self, account_id: str, epoch: int, access: Access) -> None:
        """Hold where the account stands; nothing of one in its first state."""
        packed = packed_id(account_id)
        if packed is None or epoch > _MOST_EPOCH:
            self._odd[account_id] = epoch, access
            return
        self._odd.pop(account_id, None)
        number = self._ids.find(packed)
        value = epoch << _STATUS_BITS | _STATUSES.index(access)
        if number is not None:
            self._held[number] = value
        elif value:
            self._ids.add(packed)
            self._held.append(value)

    def end(self, session_id: str, at: datetime) -> None:
        """The session ended then. Those that ended long before are forgotten."""
        instant = at.timestamp()
        if session_id not in self._over:
            self._over.add(session_id)
            self._order.append((instant, session_id))
        while self._order and self._order[0][0] < instant - self.keep_seconds:
            self._over.discard(self._order.popleft()[1])

    def distrust(self, stream: str) -> None:
        """An event of this account or session can't be read: nobody gets in by it any more."""
        if stream.startswith("acct_"):
            self.keep(stream, self.epoch(stream), "unreadable")
        elif stream.startswith("sess_"):
            self._unreadable.add(stream)

    def _of(self, account_id: str) -> tuple[int, Access]:
        odd = self._odd.get(account_id)
        if odd is not None:
            return odd
        packed = packed_id(account_id)
        number = None if packed is None else self._ids.find(packed)
        if number is None:
            return 0, "active"
        value = self._held[number]
        return value >> _STATUS_BITS, _STATUSES[value & (2**_STATUS_BITS - 1)]
