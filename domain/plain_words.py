"""Every event of the decisions log as a sentence, and who did it. For people who read histories.

Sentences hold nothing personal and no secret: they are made of what `disclosed` shows. Who may
see more sees it beside the sentence.
"""

from collections.abc import Callable
from typing import Any, get_args

from domain.account_words import account_sentence, session_sentence
from domain.accounts import AccountEvent
from domain.allowances import AllowanceEvent, ResetEvent
from domain.api_keys import ApiKeyEvent
from domain.credit_events import CreditEvent
from domain.credit_words import credit_sentence, plan_sentence, purchase_sentence
from domain.event import Event
from domain.key_words import allowance_sentence, key_sentence
from domain.plans import PlanEvent
from domain.purchases import PurchaseEvent
from domain.sessions import SessionEvent

_WORDS: dict[type[Event], Callable[[Any], str]] = {
    **dict.fromkeys(get_args(AccountEvent), account_sentence),
    **dict.fromkeys(get_args(SessionEvent), session_sentence),
    **dict.fromkeys(get_args(ApiKeyEvent), key_sentence),
    **dict.fromkeys(get_args(PlanEvent), plan_sentence),
    **dict.fromkeys((*get_args(AllowanceEvent), ResetEvent), allowance_sentence),
    **dict.fromkeys(get_args(PurchaseEvent), purchase_sentence),
    **dict.fromkeys(get_args(CreditEvent), credit_sentence),
}


def sentence(event: Event) -> str:
    """What happened, in one sentence. TypeError for an event of no decision."""
    words = _WORDS.get(type(event))
    if words is None:
        raise TypeError(f"no words for {type(event).__name__}")
    return words(event)


def who(actor: str, account_id: str | None, impersonator: str | None = None) -> str:
    """Who did it to what is this account's, in words: `the owner`, `staff (acct_…)`."""
    if impersonator is not None:
        return f"staff ({impersonator}), acting as the owner"
    if actor.startswith("acct_"):
        return "the owner" if actor == account_id else f"staff ({actor})"
    if actor.startswith("key_"):
        return f"a service ({actor})"
    if actor.startswith("payments:"):
        return f"the payment provider {actor.removeprefix('payments:')}"
    return _NAMED.get(actor, actor)


_NAMED = {
    "operator": "the operator, on the command line",
    "system": "the server itself",
    "public": "a visitor, not signed in",
}
