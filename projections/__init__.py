"""What events fold into: the key directory in memory, and the read models in Postgres."""

from projections.accounts import AccountList
from projections.api_keys import KeyList
from projections.credits import CreditDecisions, CreditUses
from projections.history import History
from projections.read_model import ReadModel
from projections.usage import KeyUses

READ_MODELS: tuple[ReadModel, ...] = (
    AccountList(),
    KeyList(),
    History(),
    KeyUses(),
    CreditDecisions(),
    CreditUses(),
)
"""Every read model in Postgres. Each is followed by a job of its own, under its name."""
