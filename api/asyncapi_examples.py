"""One event of each kind as it might be in a log, for the AsyncAPI document.

The examples go through publication like any event, so what the document shows is what a
consumer receives.
"""

from datetime import UTC, datetime, timedelta

from api.asyncapi_credit_examples import credit_events
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
from domain.allowances import (
    EVERYBODY,
    AllAllowancesReset,
    AllowanceLifted,
    AllowanceReset,
    AllowanceSet,
)
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
from domain.event import Event, Metadata, Recorded
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
from projections.publication import Message, message

LOG_ID = "log1a2b3c4d5e6f"
_ACCOUNT = "acct_01kb2m8v4x7c9e1g3j5n6q8s0t"
_KEY = "key_01kb2m9d2f4h6k8n0q2s4v6x8z"
_IMPORTED_KEY = "key_01kb2m9d3a5c7e9g1j3m5p7r9t"
_ALLOWANCE = "alw_01kb2m9d5a7c9e1g3j5m7p9r1t"
_PASSKEY = "pk_01kb2m9f4c6e8g0j2m4p6r8t0v"
_SESSION = "sess_01kb2m9f1b3d5g7j9m1p3r5t7w"
_PLAN = "plan_pro"
_PURCHASE = "pur_01kb2m9h3d5f7h9k1n3q5s7v9x"
_CREDIT = "credit_01kb2m8v4x7c9e1g3j5n6q8s0t"
_PAYMENT = "pi_3QExamplePayment"
_USAGE = "usage_01kb2m7a8c0e2g4j6m8p0r2t4w"
_AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
_AT_US = int(_AT.timestamp()) * 1_000_000

_EVENTS: dict[str, tuple[Event, ...]] = {
    _ACCOUNT: (
        AccountRegistered(account_id=_ACCOUNT, kind="business"),
        EmailVerified(),
        EmailChanged(verified=True),
        UsernameChanged(username=None),
        ProfileChanged(changed=("name", "kind"), kind="personal"),
        NoteWritten(),
        PasswordSet(how="changed"),
        SignInsRefused(failures=5, locked_until=_AT + timedelta(minutes=1)),
        TotpEnrolled(),
        TotpRemoved(),
        RecoveryCodesIssued(count=10),
        RecoveryCodeUsed(left=9),
        PasskeyAdded(passkey_id=_PASSKEY),
        PasskeyRemoved(passkey_id=_PASSKEY),
        RoleGranted(role="support"),
        RoleWithdrawn(role="support"),
        SignedOutEverywhere(),
        Impersonated(session_id=_SESSION, until=_AT + timedelta(minutes=15)),
        AccountClosed(final_at=_AT + timedelta(days=30)),
        AccountRestored(),
        AccountErased(counts={"claims": 2, "sessions": 1, "mails": 0}),
        PlanAssigned(plan="pro"),
        PlanChangeScheduled(plan="enterprise", due_at=datetime(2026, 12, 1, tzinfo=UTC)),
        PlanChangeCancelled(),
        AccountSuspended(),
        AccountReinstated(),
    ),
    _SESSION: (
        SessionStarted(
            session_id=_SESSION,
            account_id=_ACCOUNT,
            amr=("pwd",),
            expires_at=_AT + timedelta(days=7),
        ),
        SessionReuseDetected(generation=3),
        SessionEnded(reason="reuse"),
    ),
    _KEY: (
        ApiKeyIssued(
            key_id=_KEY,
            account_id=_ACCOUNT,
            name="deploy",
            digest=b"",
            pepper_id="",
            hint="th_live_…wxyz",
            permissions=("orders.read",),
            expires_at=_AT + timedelta(days=365),
            metadata={"team": "ops", "seats": 3},
            tags=("blue",),
        ),
        ApiKeyRenamed(name="deploy, old"),
        ApiKeyPermissionsSet(permissions=("orders.read", "orders.write")),
        ApiKeyRolesSet(roles=("editor",)),
        ApiKeyIpAllowSet(ip_allow=("192.0.2.0/24", "2001:db8::/32")),
        ApiKeyLimitsSet(rate_limits=(RateLimit("burst", 10, "second"),)),
        ApiKeyExpirySet(expires_at=_AT + timedelta(days=30)),
        ApiKeyLabelled(metadata={"team": "web"}, tags=("green",), external_id="customer-8"),
        ApiKeyPaused(),
        ApiKeyResumed(),
        ApiKeyRotated(
            digest=b"",
            pepper_id="",
            hint="th_live_…stuv",
            generation=2,
            previous_until=_AT + timedelta(hours=1),
        ),
        ApiKeyRevoked(),
    ),
    _IMPORTED_KEY: (
        ApiKeyImported(
            key_id=_IMPORTED_KEY,
            account_id=_ACCOUNT,
            name="from the old system",
            digest=b"",
            pepper_id="",
            hint="old_…1f3a",
            algorithm="sha256",
            roles=("editor",),
            ip_allow=("192.0.2.7/32",),
        ),
        ApiKeyRehashed(digest=b"", pepper_id=""),
    ),
    EVERYBODY: (AllAllowancesReset(reset_at_us=1_769_877_000_000_000),),
    _PLAN: (
        PlanPublished(
            name="pro",
            tier="pro",
            title="Pro",
            entitlements=Entitlements(keys=50, quota=Quota(100_000, "day"), features=("sso",)),
            self_service=True,
        ),
        PlanChanged(
            title="Pro",
            entitlements=Entitlements(keys=80, quota=Quota(120_000, "day"), features=("sso",)),
            self_service=True,
        ),
        PlanRetired(),
    ),
    _ALLOWANCE: (
        AllowanceSet(
            allowance_id=_ALLOWANCE,
            owner_id=_KEY,
            account_id=_ACCOUNT,
            scope="own",
            limit=1_000,
            period="month",
            counter_id=17,
        ),
        AllowanceLifted(),
        AllowanceReset(
            allowance_id=_ALLOWANCE,
            owner_id=_KEY,
            account_id=_ACCOUNT,
            scope="own",
            reset_at_us=1_769_877_000_000_000,
        ),
    ),
    _PURCHASE: (
        PurchaseStarted(
            purchase_id=_PURCHASE,
            account_id=_ACCOUNT,
            package="small",
            title="100 credits",
            credits=100_00,
            price_minor=10_00,
            currency="USD",
            provider="stripe",
            expires_after_days=365,
        ),
        PurchaseFailed(payment_id=_PAYMENT, reason="card_declined"),
        PurchasePaid(payment_id=_PAYMENT, amount_minor=10_00, credits=100_00, paid_at=_AT),
        PurchasePaidAgain(payment_id="pi_3QAnotherPayment", amount_minor=10_00),
        PurchaseRefunded(
            payment_id=_PAYMENT, amount_minor=10_00, refunded_minor=2_50, credits=25_00
        ),
    ),
    _CREDIT: credit_events(_ACCOUNT, _AT_US),
    _USAGE: (
        VerificationsCounted(
            instance=_USAGE,
            at_us=[_AT_US, _AT_US + 250, _AT_US + 900],
            judged_at=[(0, 41)],
            keys=[_KEY],
            accounts=[_ACCOUNT],
            key=[0, -1, 0],
            account=[0, -1, 0],
            code=["VALID", "NOT_FOUND", "VALID"],
            cost=[1, 1, 2],
            takes=[0, 1, 1, 2, 1, 2],
            counters=[17],
            labels={"0": {"tags": ["eu"], "resource": "orders"}},
            refused=[2],
            refused_by=[1],
        ),
    ),
}
_PLACES = {
    type(event): (stream, version)
    for stream, events in _EVENTS.items()
    for version, event in enumerate(events, 1)
}


def published(event_type: type[Event]) -> Message:
    """The example of this event as it is published. KeyError where there is none yet."""
    stream, version = _PLACES[event_type]
    event = _EVENTS[stream][version - 1]
    usage = isinstance(event, VerificationsCounted)
    position = 1 + list(_PLACES).index(event_type)
    return message(
        Recorded(
            position=position,
            stream=stream,
            version=version,
            event=event,
            metadata=Metadata(
                at=_AT,
                actor="verification" if usage else _ACCOUNT,
                command_id="",
                request_id=None if usage else "req_9b2f4c6d8e0a1b3c5d7e9f02",
            ),
            account_id=None if usage or stream == _PLAN else _ACCOUNT,
        ),
        f"{LOG_ID}u" if usage else LOG_ID,
    )
