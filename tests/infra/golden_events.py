"""An example of every event with all of its fields set, and the bytes it was shipped as.

    python -m tests.infra.golden_events    writes the files that are missing, never another

A golden file is the stored form of a shipped event: it is never edited. When a test against
one fails, the code is wrong.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from domain.accounts import (
    AccountClosed,
    AccountErased,
    AccountRegistered,
    AccountReinstated,
    AccountRestored,
    AccountSuspended,
    EmailChanged,
    EmailVerified,
    Impersonated,
    NoteWritten,
    PasskeyAdded,
    PasskeyRemoved,
    PasswordSet,
    PlanAssigned,
    PlanChangeCancelled,
    PlanChangeScheduled,
    ProfileChanged,
    RecoveryCodesIssued,
    RecoveryCodeUsed,
    RoleGranted,
    RoleWithdrawn,
    SignedOutEverywhere,
    SignInsRefused,
    TotpEnrolled,
    TotpRemoved,
    UsernameChanged,
)
from domain.allowances import AllAllowancesReset, AllowanceLifted, AllowanceReset, AllowanceSet
from domain.api_keys import (
    ApiKeyExpirySet,
    ApiKeyImported,
    ApiKeyIpAllowSet,
    ApiKeyIssued,
    ApiKeyLabelled,
    ApiKeyLimitsSet,
    ApiKeyPaused,
    ApiKeyPermissionsSet,
    ApiKeyRehashed,
    ApiKeyRenamed,
    ApiKeyResumed,
    ApiKeyRevoked,
    ApiKeyRolesSet,
    ApiKeyRotated,
)
from domain.credit_events import (
    CreditBegun,
    CreditCaptured,
    CreditDrawn,
    CreditExpired,
    CreditGranted,
    CreditHeld,
    CreditReleased,
    CreditSpent,
    CreditWithdrawn,
    Part,
)
from domain.event import Event, Metadata, NewEvent, stored_name
from domain.plans import Entitlements, PlanChanged, PlanPublished, PlanRetired
from domain.purchases import (
    PurchaseFailed,
    PurchasePaid,
    PurchasePaidAgain,
    PurchaseRefunded,
    PurchaseStarted,
)
from domain.quotas import Quota, RateLimit
from domain.sessions import SessionEnded, SessionReuseDetected, SessionStarted
from domain.verification import VerificationsCounted
from infra.event_mapper import EventMapper

FOLDER = Path(__file__).parent / "golden"
DATA_KEY = bytes(range(32))
NONCE = b"golden-nonce"
AT = datetime(2026, 11, 22, 3, 4, 5, 678901, tzinfo=UTC)

METADATA = Metadata(
    at=AT,
    actor="acct_00000000000000000000000001",
    command_id="cmd_1",
    request_id="req_1",
    cause="cmd_0",
    reason="GOLDEN-PERSONAL asked for by telephone",
)
LABELS: dict[str, str | int | float | bool | None] = {
    "team": "ops",
    "seats": 3,
    "share": 0.5,
    "paid": True,
    "note": None,
}

ADDED_LATER: dict[str, frozenset[str]] = {
    "session.started.v1": frozenset({"impersonator"}),
    "allowance.set.v1": frozenset({"carry_over_max", "anchor", "time_zone"}),
    "api_key.issued.v1": frozenset({"roles", "ip_allow", "rate_limits"}),
}
"""Fields with a default that joined a shipped event: its golden bytes are of before that, and
show that such bytes are still read."""

EXAMPLES: list[Event] = [
    AccountRegistered(
        account_id="acct_00000000000000000000000001",
        username="GOLDEN-PERSONAL-ada",
        external_id="GOLDEN-PERSONAL-7",
        kind="business",
        actor_type="creator",
        email="GOLDEN-PERSONAL@example.org",
        name="GOLDEN-PERSONAL Ada",
        phone="GOLDEN-PERSONAL +44",
        about="GOLDEN-PERSONAL writes",
        hobbies="GOLDEN-PERSONAL engines",
        avatar_url="https://example.org/GOLDEN-PERSONAL.png",
        wallet_address="GOLDEN-PERSONAL-0x1",
    ),
    EmailVerified(),
    EmailChanged(verified=False, email="GOLDEN-PERSONAL-new@example.org"),
    UsernameChanged(username="GOLDEN-PERSONAL-countess"),
    ProfileChanged(
        changed=("name", "phone", "about", "hobbies", "avatar_url", "wallet_address", "kind"),
        kind="personal",
        actor_type="user",
        name="GOLDEN-PERSONAL Lovelace",
        phone="GOLDEN-PERSONAL +45",
        about="GOLDEN-PERSONAL reads",
        hobbies="GOLDEN-PERSONAL horses",
        avatar_url="https://example.org/GOLDEN-PERSONAL-2.png",
        wallet_address="GOLDEN-PERSONAL-0x2",
    ),
    NoteWritten(note="GOLDEN-PERSONAL pays late"),
    PasswordSet(how="reset"),
    SignInsRefused(failures=5, locked_until=AT + timedelta(minutes=1)),
    TotpEnrolled(),
    TotpRemoved(),
    RecoveryCodesIssued(count=10),
    RecoveryCodeUsed(left=9),
    PasskeyAdded(passkey_id="pk_00000000000000000000000009", name="GOLDEN-PERSONAL telephone"),
    PasskeyRemoved(passkey_id="pk_00000000000000000000000009"),
    RoleGranted(role="admin"),
    RoleWithdrawn(role="admin"),
    SignedOutEverywhere(),
    Impersonated(session_id="sess_00000000000000000000000004", until=AT + timedelta(minutes=15)),
    AccountClosed(final_at=AT + timedelta(days=30), erase=True),
    AccountRestored(),
    AccountErased(counts={"claims": 2, "sessions": 1}),
    SessionReuseDetected(generation=3),
    SessionEnded(reason="reuse"),
    PlanAssigned(plan="pro"),
    PlanChangeScheduled(plan="enterprise", due_at=datetime(2026, 12, 1, tzinfo=UTC)),
    PlanChangeCancelled(),
    AccountSuspended(),
    AccountReinstated(),
    SessionStarted(
        session_id="sess_00000000000000000000000002",
        account_id="acct_00000000000000000000000001",
        amr=("pwd", "otp"),
        expires_at=AT + timedelta(days=7),
        ip="GOLDEN-PERSONAL 192.0.2.1",
        user_agent="GOLDEN-PERSONAL Firefox",
    ),
    ApiKeyIssued(
        key_id="key_00000000000000000000000003",
        account_id="acct_00000000000000000000000001",
        name="deploy",
        digest=bytes(range(32)),
        pepper_id="abcdef012345",
        hint="th_test_…wxyz",
        kind="service",
        environment="test",
        audience="api.example.org",
        permissions=("keys.verify", "keys.issue"),
        expires_at=AT + timedelta(days=365),
        metadata=LABELS,
        tags=("blue", "grün"),
        external_id="customer-7",
        enabled=False,
        generation=2,
    ),
    ApiKeyRenamed(name="deploy 2"),
    ApiKeyPermissionsSet(permissions=("read", "orders:write")),
    ApiKeyExpirySet(expires_at=AT + timedelta(days=30)),
    ApiKeyLabelled(metadata=LABELS, tags=("green",), external_id="customer-8"),
    ApiKeyPaused(),
    ApiKeyResumed(),
    ApiKeyRevoked(),
    ApiKeyRolesSet(roles=("editor", "billing.admin")),
    ApiKeyIpAllowSet(ip_allow=("10.0.0.0/8", "2001:db8::/32")),
    ApiKeyLimitsSet(rate_limits=(RateLimit("burst", 50, "second", 2),)),
    ApiKeyRotated(
        digest=bytes(range(1, 33)),
        pepper_id="abcdef012345",
        hint="th_test_…abcd",
        generation=3,
        previous_until=AT + timedelta(days=30),
    ),
    ApiKeyRehashed(digest=bytes(range(2, 34)), pepper_id="abcdef012345"),
    ApiKeyImported(
        key_id="key_00000000000000000000000004",
        account_id="acct_00000000000000000000000001",
        name="from elsewhere",
        digest=bytes(range(3, 35)),
        pepper_id="abcdef012345",
        hint="old_…wxyz",
        algorithm="hmac-sha256",
        kind="service",
        generation=2,
        environment="test",
        audience="api.example.org",
        permissions=("documents.*",),
        expires_at=AT + timedelta(days=365),
        metadata=LABELS,
        tags=("blue",),
        external_id="customer-7",
        enabled=False,
        roles=("editor",),
        ip_allow=("10.0.0.0/8",),
        rate_limits=(RateLimit("burst", 50, "second", 2),),
    ),
    PlanPublished(
        name="pro",
        tier="pro",
        title="Pro",
        entitlements=Entitlements(
            keys=50, quota=Quota(100_000, "day"), monthly_credits=120_00, features=("sso",)
        ),
        self_service=True,
    ),
    PlanChanged(
        title="Pro",
        entitlements=Entitlements(
            keys=80,
            quota=Quota(
                120_000,
                "day",
                carry_over_max=10_000,
                anchor=datetime(2026, 1, 1, 8, tzinfo=UTC),
                time_zone="Europe/Berlin",
            ),
            rate_limits=(RateLimit("burst", 50, "second", 2),),
            monthly_credits=150_00,
            features=("sso", "audit"),
            operation_costs={"image": 2_50},
        ),
        self_service=True,
    ),
    PlanRetired(),
    AllowanceSet(
        allowance_id="alw_00000000000000000000000004",
        owner_id="key_00000000000000000000000003",
        account_id="acct_00000000000000000000000001",
        scope="own",
        limit=1_000,
        period="month",
        counter_id=2**62 + 1,
        rule_no=3,
    ),
    AllowanceLifted(),
    AllowanceReset(
        allowance_id="alw_00000000000000000000000004",
        owner_id="key_00000000000000000000000003",
        account_id="acct_00000000000000000000000001",
        scope="own",
        reset_at_us=1_790_000_000_000_000,
    ),
    AllAllowancesReset(reset_at_us=1_790_000_000_000_000),
    PurchaseStarted(
        purchase_id="pur_00000000000000000000000005",
        account_id="acct_00000000000000000000000001",
        package="small",
        title="100 credits",
        credits=100_00,
        price_minor=10_00,
        currency="USD",
        provider="stripe",
        expires_after_days=365,
    ),
    PurchasePaid(payment_id="pi_1", amount_minor=10_00, credits=100_00, paid_at=AT),
    PurchaseFailed(payment_id="pi_1", reason="card_declined"),
    PurchasePaidAgain(payment_id="pi_2", amount_minor=10_00),
    PurchaseRefunded(payment_id="pi_1", amount_minor=10_00, refunded_minor=2_50, credits=25_00),
    CreditGranted(
        account_id="acct_00000000000000000000000001",
        entry_no=1,
        at_us=1_790_000_000_000_001,
        before=0,
        after=5_00,
        lot=1,
        amount=5_00,
        priority=0,
        starts_at_us=1_790_000_000_000_001,
        expires_at_us=1_790_812_800_000_000,
        source="plan",
        month=24_320,
    ),
    CreditBegun(
        entry_no=2, at_us=1_790_000_000_000_002, before=5_00, after=6_00, lot=2, amount=1_00
    ),
    CreditDrawn(
        entry_no=5,
        at_us=1_790_000_000_000_003,
        before=4_00,
        after=4_00,
        amount=2_00,
        parts=(Part(1, 2_00),),
        used=2_00,
    ),
    CreditSpent(
        entry_no=6,
        at_us=1_790_000_000_000_004,
        before=4_00,
        after=2_50,
        amount=1_50,
        parts=(Part(1, 1_00), Part(2, 50)),
        operation="post_with_media",
    ),
    CreditHeld(
        entry_no=7,
        at_us=1_790_000_000_000_005,
        before=2_50,
        after=1_50,
        hold_id="hold_00000000000000000000000006",
        amount=1_00,
        parts=(Part(1, 1_00),),
        expires_at_us=1_790_000_900_000_005,
        operation="post",
    ),
    CreditCaptured(
        entry_no=8,
        at_us=1_790_000_000_000_006,
        before=1_50,
        after=1_50,
        hold_id="hold_00000000000000000000000006",
        amount=75,
        parts=(Part(1, 75),),
    ),
    CreditReleased(
        entry_no=9,
        at_us=1_790_000_000_000_006,
        before=1_50,
        after=1_75,
        hold_id="hold_00000000000000000000000006",
        amount=25,
        parts=(Part(1, 25),),
        reason="rest",
    ),
    CreditWithdrawn(
        entry_no=10,
        at_us=1_790_000_000_000_007,
        before=1_75,
        after=1_75,
        lot=3,
        amount=1_00,
        upcoming=True,
    ),
    CreditExpired(
        entry_no=11, at_us=1_790_812_800_000_000, before=1_75, after=50, lot=1, amount=1_25
    ),
    VerificationsCounted(
        instance="usage_00000000000000000000000005",
        at_us=[1_790_000_000_000_001, 1_790_000_000_000_002],
        judged_at=[(0, 41), (1, 42)],
        keys=["key_00000000000000000000000003"],
        accounts=["acct_00000000000000000000000001"],
        key=[0, -1],
        account=[0, -1],
        code=["VALID", "NOT_FOUND"],
        cost=[2, 1],
        takes=[0, 1, 2],
        counters=[7],
        labels={"0": {"tags": ["a"], "resource": "r", "model": "m"}},
        counted_at_us=1_790_000_000_000_003,
        windows=[1_789_948_800_000_000],
        limits=[None],
        opening=[5],
        entry_no=[9],
        refused=[1],
        refused_by=[-1],
    ),
]


def new_event(event: Event) -> NewEvent:
    """The example on its way into the log, in its own stream, as the third event."""
    noun = stored_name(type(event)).partition(".")[0]
    return NewEvent(f"{noun}_stream", 3, event, "acct_00000000000000000000000001")


def stored(event: Event) -> bytes:
    """The bytes of the example as the log of today would have them."""
    return EventMapper().encode(new_event(event), METADATA, DATA_KEY, NONCE)[1]


def golden_file(name: str) -> Path:
    """Where the shipped bytes of this stored name are."""
    return FOLDER / f"{name}.json"


def write_missing() -> list[str]:
    """Write the golden files that don't exist yet; answers their names."""
    written = []
    for event in EXAMPLES:
        file = golden_file(stored_name(type(event)))
        if not file.exists():
            file.write_bytes(stored(event))
            written.append(file.name)
    return written


if __name__ == "__main__":
    print("\n".join(write_missing()) or "nothing is missing")
