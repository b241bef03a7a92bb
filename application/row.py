"""What every row is that a commit writes; `rows` is where all of them are."""

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One row written with the events; its fields are the columns."""
