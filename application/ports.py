"""What the use cases need from the outside, as Protocols; `infra` implements them.

What must be right at commit is in `rows`: written with the events, or not at all.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from application.analytics_ports import Analytics as Analytics
from application.analytics_ports import KeyTrail as KeyTrail
from application.analytics_ports import LakeColumn as LakeColumn
from application.analytics_ports import LakeFormat as LakeFormat
from application.analytics_ports import LakeTable as LakeTable
from application.analytics_ports import SheetFormat as SheetFormat
from application.analytics_ports import Trace as Trace
from application.analytics_ports import UsageWanted as UsageWanted
from application.challenge_ports import Breached as Breached
from application.challenge_ports import Challenges as Challenges
from application.challenge_ports import Strength as Strength
from application.closing_ports import Closings as Closings
from application.closing_ports import ErasureLedger as ErasureLedger
from application.factor_ports import FactorStore as FactorStore
from application.factor_ports import PasskeyCeremonies as PasskeyCeremonies
from application.history_ports import EventFilter as EventFilter
from application.history_ports import LogPages as LogPages
from application.log_ports import AnswerExists as AnswerExists
from application.log_ports import Appended as Appended
from application.log_ports import Counted as Counted
from application.log_ports import CounterLock as CounterLock
from application.log_ports import Decide as Decide
from application.log_ports import Decided as Decided
from application.log_ports import EventStore as EventStore
from application.log_ports import Flush as Flush
from application.log_ports import Followed as Followed
from application.log_ports import Found as Found
from application.log_ports import Locked as Locked
from application.log_ports import UsageLog as UsageLog
from application.payment_ports import PaymentProvider as PaymentProvider
from application.reading_ports import LATE_SECONDS as LATE_SECONDS
from application.reading_ports import MOST_BEHIND as MOST_BEHIND
from application.reading_ports import SILENT_SECONDS as SILENT_SECONDS
from application.reading_ports import CreditEntry as CreditEntry
from application.reading_ports import CreditEntryKind as CreditEntryKind
from application.reading_ports import CreditRow as CreditRow
from application.reading_ports import Follower as Follower
from application.reading_ports import HistoryEntry as HistoryEntry
from application.reading_ports import HoldRow as HoldRow
from application.reading_ports import KeyUses as KeyUses
from application.reading_ports import Lookups as Lookups
from application.reading_ports import Moment as Moment
from application.reading_ports import ReadModels as ReadModels
from application.rows import DataKeyRow
from application.session_ports import AccessGate, RefreshTokens, Sessions, SigningKeys
from application.staff_ports import AccountPages as AccountPages
from application.throttle_ports import ThrottlePolicy as ThrottlePolicy
from application.throttle_ports import Throttles as Throttles
from domain.accounts import Account
from domain.allowances import Allowance
from domain.api_keys import Algorithm, ApiKey
from domain.event import Unreadable as Unreadable
from domain.plans import Plan
from domain.purchases import SHIPPED, Package


class Directory(Protocol):
    """What this process knows of accounts, keys, plans and allowances, following the log."""

    @property
    def position(self) -> int: ...

    def account(self, account_id: str) -> Account | None: ...

    def key(self, key_id: str) -> ApiKey | None: ...

    def plan(self, name: str) -> Plan | None: ...

    def plans(self) -> list[Plan]: ...

    def allowances(self, owner_id: str) -> Sequence[Allowance]: ...

    async def hold(self, key_ids: Sequence[str]) -> None:
        """See to it that `key` and `allowances` know these keys for a while: a directory that
        holds only what is in use may have to fetch them. Raises StoreUnavailable, Overloaded."""
        ...

    @property
    def reset_at_us(self) -> int:
        """When everybody's quotas were reset the last time; 0 for never."""
        ...

    async def catch_up(self, position: int, patience_seconds: float) -> bool:
        """Wait until this position is applied; False if it takes longer."""
        ...


class Digests(Protocol):
    """Keyed digests under the pepper: of keys, tokens and what is claimed."""

    @property
    def pepper_id(self) -> str: ...

    def key(self, secret: str) -> bytes: ...

    def candidates(self, secret: str) -> list[bytes]:
        """The digests under every pepper in use, the current one first."""
        ...

    def importable(self) -> frozenset[str]:
        """The algorithms of keys that can be imported here."""
        ...

    def imported(self, algorithm: Algorithm, hash: bytes) -> bytes:
        """The digest that stands for a hash that was made elsewhere."""
        ...

    def foreign(self, secret: str, algorithms: Collection[str]) -> list[bytes]:
        """What stands for this secret, had it been imported under one of these algorithms."""
        ...

    def claims(self, kind: str, text: str) -> list[bytes]:
        """The digests of a claim under every pepper in use: all are held, any finds it. So
        nobody takes an address twice while the pepper rotates, whichever process is asked."""
        ...


class Passwords(Protocol):
    """Argon2id behind a gate; raises Overloaded when its queue is full."""

    async def hash(self, password: str) -> str: ...

    async def verify(self, hash: str | None, password: str) -> bool:
        """Whether it is the password. None takes as long as a hash and is never right."""
        ...

    def needs_rehash(self, hash: str) -> bool:
        """Whether it was made elsewhere, or at another cost than is set now: then the sign-in
        that it let in puts a new one in its place."""
        ...

    async def strength(self, password: str, words: Sequence[str]) -> Strength:
        """How hard it is to guess for who knows these words."""
        ...


class Vault(Protocol):
    """Makes data keys; what they seal is the event store's business."""

    def new_data_key(self, account_id: str) -> DataKeyRow: ...

    def forget(self, account_id: str) -> None:
        """Hold this account's data key no more, and never again."""
        ...

    def seal_secret(self, plain: bytes, bound_to: str) -> tuple[bytes, str]:
        """Seal a secret that is no account's under the master key; also says under which."""
        ...

    def open_secret(self, sealed: bytes, master_key_id: str, bound_to: str) -> bytes:
        """Undo `seal_secret`."""
        ...


class AccessClaims(msgspec.Struct, frozen=True):
    """What an access token says (RFC 9068). `auth_time` is when its session was signed in to;
    `impersonator` who really acts (`act` of RFC 8693)."""

    sub: str
    sid: str
    jti: str
    iat: int
    exp: int
    roles: list[str]
    amr: list[str]
    epoch: int
    auth_time: int = 0
    impersonator: str | None = None


class Tokens(Protocol):
    """Access tokens: EdDSA, one key id per signing key."""

    @property
    def issuer(self) -> str: ...

    @property
    def audience(self) -> str: ...

    def issue(self, claims: AccessClaims) -> str: ...

    def check(self, token: str, now: datetime) -> AccessClaims:
        """The claims of a token that is ours and not expired; Unauthenticated otherwise."""
        ...


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that use cases obey."""

    key_prefix: str = "th"
    access_token_ttl_seconds: int = 900
    refresh_token_ttl_seconds: int = 604_800
    sessions_per_account: int = 200
    """How many sessions of an account go on at once; 0 for any number."""
    require_verified_email: bool = False
    packages: tuple[Package, ...] = SHIPPED
    keys_per_hour: int = 0
    """How many keys an account is issued in an hour; 0 for any number."""
    close_grace_days: int = 30
    """For how long a closed account can be restored at most."""
    throttles: ThrottlePolicy = ThrottlePolicy()
    service_name: str = "Tollhouse"
    """What authenticator apps and passkeys call this service."""
    totp_guesses_per_hour: int = 10
    """How many wrong codes of its app an account takes in an hour; 0 for any number."""
    page_origins: tuple[str, ...] = ()
    """The other origins whose pages may act with a session's cookies, if they are of our site."""
    password_min_length: int = 10
    password_min_score: int = 3
    product_words: tuple[str, ...] = ("tollhouse",)
    """What no password may consist of: the names of the product and of where it runs."""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a use case may reach. Put together in `main`, nowhere else."""

    store: EventStore
    lookups: Lookups
    read_models: ReadModels
    log_pages: LogPages
    account_pages: AccountPages
    directory: Directory
    digests: Digests
    passwords: Passwords
    vault: Vault
    tokens: Tokens
    throttles: Throttles
    challenges: Challenges
    breached: Breached
    factors: FactorStore
    passkeys: PasskeyCeremonies
    closings: Closings
    ledger: ErasureLedger
    policy: Policy
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    sessions: Sessions
    refresh_tokens: RefreshTokens
    gate: AccessGate
    signing_keys: SigningKeys
    payments: dict[str, PaymentProvider] = {}
