"""Position tokens, `<log id>:<n>`: what an answer made, and what a reader must see."""

from collections.abc import Mapping

from api.http.problems import HttpProblem
from application.errors import ForeignLog, PositionNotReached
from application.ports import Directory

POSITION = "Tollhouse-Position"
MIN_POSITION = "Tollhouse-Min-Position"
PATIENCE_SECONDS = 2.0


def token(log_id: str, position: int) -> str:
    """The token of this position."""
    return f"{log_id}:{position}"


def position_of(log_id: str, wanted: str) -> int:
    """The number in a token. Raises HttpProblem for what is no token, ForeignLog."""
    log, _, number = wanted.partition(":")
    if not log or not number.isascii() or not number.isdigit() or len(number) > 18:
        raise HttpProblem(
            "INVALID_POSITION",
            "A position is `<log id>:<number>`, as answers give it.",
            param=MIN_POSITION,
        )
    if log != log_id:
        raise ForeignLog(log)
    return int(number)


async def await_position(directory: Directory, log_id: str, wanted: str) -> None:
    """Wait until this process has followed the log that far.

    Raises HttpProblem for what is no token, ForeignLog, PositionNotReached after 2 s.
    """
    position = position_of(log_id, wanted)
    if not await directory.catch_up(position, PATIENCE_SECONDS):
        raise PositionNotReached(position, directory.position)


def at_least(log_id: str, headers: Mapping[str, str]) -> int | None:
    """The position that a request wants to see; None where any will do. Raises as
    `position_of`."""
    wanted = headers.get(MIN_POSITION)
    return None if wanted is None else position_of(log_id, wanted)
