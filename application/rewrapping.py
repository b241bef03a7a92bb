"""What sealing everything anew under the current master key did."""

import msgspec


class Rewrapped(msgspec.Struct, frozen=True, kw_only=True):
    """One table: how many rows were sealed anew, and how many no key that is set opens."""

    table: str
    rewrapped: int
    unreadable: int
