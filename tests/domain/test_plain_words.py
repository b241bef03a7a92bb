"""Histories in plain words: every event has a sentence, and none gives anything away."""

from datetime import UTC, datetime
from typing import get_args

import msgspec
import pytest

from domain.account_events import AccountClosed, NoteWritten, PasswordSet
from domain.allowances import AllowanceSet
from domain.api_keys import ApiKeyLimitsSet, ApiKeyRotated
from domain.disclosure import seen, sees_reasons
from domain.event import Event, Metadata, Recorded, name_fields, personal_fields, stored_name
from domain.events import DecisionEvent
from domain.plain_words import sentence, who
from domain.quotas import RateLimit
from domain.sessions import SessionStarted
from domain.staff import rights_of
from domain.verification import VerificationsCounted
from tests.infra.golden_events import EXAMPLES

AT = datetime(2026, 2, 3, 8, tzinfo=UTC)
DECISIONS = [each for each in EXAMPLES if not isinstance(each, VerificationsCounted)]
OWNER, STAFF = "acct_" + "0" * 26, "acct_" + "1" * 26


def name_of(event: Event) -> str:
    return stored_name(type(event))


@pytest.mark.parametrize("event", DECISIONS, ids=name_of)
def test_every_decision_is_told_in_one_sentence_and_nothing_personal_is_in_it(
    event: Event,
) -> None:
    said = sentence(event)
    assert said[0].isupper() or said[0].isdigit()
    assert said.endswith(".")
    assert len(said) < 300
    personal = {getattr(event, field) for field in personal_fields(type(event))} - {None}
    assert not [each for each in personal if each in said]


def test_there_is_an_example_of_every_decision() -> None:
    assert {type(each) for each in DECISIONS} == set(get_args(DecisionEvent))


def test_what_was_counted_is_no_decision() -> None:
    with pytest.raises(TypeError):
        sentence(
            VerificationsCounted(
                instance="u",
                at_us=[],
                judged_at=[],
                keys=[],
                accounts=[],
                key=[],
                account=[],
                code=[],
                cost=[],
                takes=[],
                counters=[],
            )
        )


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            AccountClosed(final_at=AT, erase=True),
            "The account was closed. It can be restored until 2026-02-03 08:00 UTC; then it is "
            "erased.",
        ),
        (
            PasswordSet(how="reset"),
            "The password was reset by proof of the email address. Tokens from before ended.",
        ),
        (
            ApiKeyLimitsSet(rate_limits=(RateLimit("burst", 10, "second"),)),
            "The key has these rate limits: burst (10 a second).",
        ),
        (
            ApiKeyRotated(digest=b"", pepper_id="p", hint="th_live_…x7Qa", generation=2),
            "The key has another secret (th_live_…x7Qa); the one before ended at once.",
        ),
        (
            AllowanceSet(
                allowance_id="a", owner_id="k", account_id="a", scope="own", limit=1000,
                period="hour", counter_id=1,
            ),
            "The key may be used 1,000 an hour.",
        ),
        (
            SessionStarted(session_id="s", account_id="a", amr=("pwd", "otp"), expires_at=AT),
            "Signed in with a password and a one-time code.",
        ),
    ],
)  # fmt: skip
def test_sentences_read_as_people_write(event: Event, words: str) -> None:
    assert sentence(event) == words


@pytest.mark.parametrize(
    ("actor", "impersonator", "words"),
    [
        (OWNER, None, "the owner"),
        (STAFF, None, f"staff ({STAFF})"),
        (OWNER, STAFF, f"staff ({STAFF}), acting as the owner"),
        ("key_1", None, "a service (key_1)"),
        ("operator", None, "the operator, on the command line"),
        ("payments:stripe", None, "the payment provider stripe"),
        ("something new", None, "something new"),
    ],
)
def test_who_did_it_is_said_in_words_and_an_impersonator_is_named(
    actor: str, impersonator: str | None, words: str
) -> None:
    assert who(actor, OWNER, impersonator) == words


def recorded(event: Event) -> Recorded:
    return Recorded(1, OWNER, 1, event, Metadata(at=AT, actor=STAFF, command_id="c"), OWNER)


PERSONAL = [each for each in DECISIONS if personal_fields(type(each))]


@pytest.mark.parametrize("event", PERSONAL, ids=name_of)
@pytest.mark.parametrize("level", ["viewer", "support", "admin", "auditor", "analyst", ""])
def test_staff_see_what_is_personal_by_their_level_only(event: Event, level: str) -> None:
    rights = rights_of(frozenset({level}))
    shown = set(seen(recorded(event), False, rights)) & set(personal_fields(type(event)))
    if level in ("support", "admin"):
        assert shown == set(personal_fields(type(event)))
    else:  # what somebody is publicly called is no secret among staff
        assert shown == (set(name_fields(type(event))) if "accounts.read" in rights else set())
    assert sees_reasons(False, rights) == (level in ("support", "admin", "auditor"))


@pytest.mark.parametrize("event", PERSONAL, ids=name_of)
def test_owners_see_their_own_words_and_not_what_staff_noted(event: Event) -> None:
    shown = set(seen(recorded(event), True, frozenset())) & set(personal_fields(type(event)))
    assert shown == set(personal_fields(type(event))) - {"note"}
    assert not isinstance(event, NoteWritten) or not shown


@pytest.mark.parametrize("event", PERSONAL, ids=name_of)
def test_what_was_erased_is_not_there_at_all(event: Event) -> None:
    erased = msgspec.structs.replace(event, **dict.fromkeys(personal_fields(type(event))))
    rights = rights_of(frozenset({"admin"}))
    assert not set(seen(recorded(erased), True, rights)) & set(personal_fields(type(event)))
