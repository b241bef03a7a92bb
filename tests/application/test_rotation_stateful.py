"""Rotation, whatever happens in which order: one lineage, two secrets at most, overlaps end."""

from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from application.deciding import ALLOWANCE, API_KEY, FOLLOWED
from application.rules import key_rules
from domain import api_keys, key_lineage
from domain.allowances import AllowanceSet
from domain.api_keys import AmendApiKey, ApiKey, ApiKeyEvent, IssueApiKey
from domain.counters import Rule, quota_counter
from domain.event import Event, Recorded
from domain.key_lineage import Secret
from domain.quotas import RateLimit
from domain.verification import Presented, judge
from projections.key_directory import KeyDirectory
from tests.exploring import examples
from tests.factories import AT, DIGESTS, an_account, metadata, registered

ACCOUNT, KEY = "acct_00000000000000000000000001", "key_00000000000000000000000001"
OVERLAPS = st.sampled_from([0, 1, 60, 3600, 2_592_000])


class Rotation(RuleBasedStateMachine):
    """The model: who was given out when, and until when it should work."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = KeyDirectory({event: noun.evolve for event, noun in FOLLOWED.items()})
        self.now = AT
        self.position = 0
        self.versions: dict[str, int] = {}
        self.history: list[ApiKeyEvent] = []
        self.secrets: list[str] = []
        self.until: list[datetime | None] = []
        self.ended = False
        self.counted: tuple[Rule, ...] = ()

    @property
    def key(self) -> ApiKey:
        found = self.directory.key(KEY)
        assert found is not None
        return found

    def happens(self, stream: str, event: Event) -> None:
        self.position += 1
        self.versions[stream] = version = self.versions.get(stream, 0) + 1
        if isinstance(event, API_KEY.events):
            self.history.append(event)  # type: ignore[arg-type]
        recorded = Recorded(self.position, stream, version, event, metadata(at=self.now), ACCOUNT)
        self.directory.apply(recorded)

    def given_out(self) -> str:
        secret = f"secret-{len(self.secrets)}"
        self.secrets.append(secret)
        self.until.append(None)
        return secret

    @initialize(imported=st.booleans())
    def begin(self, imported: bool) -> None:
        self.happens(ACCOUNT, registered(ACCOUNT))
        command = IssueApiKey(
            account_id=ACCOUNT, name="k", rate_limits=(RateLimit("burst", 5, "second"),)
        )
        secret = self.given_out()
        if imported:
            (hash,) = DIGESTS.foreign(secret, ("sha256",))
            events = key_lineage.bring_in(
                command, KEY, Secret(hash, DIGESTS.pepper_id, "…"), "sha256", self.now
            )
        else:
            events = api_keys.issue(
                command, KEY, DIGESTS.key(secret), DIGESTS.pepper_id, "…", self.now
            )
        for event in events:
            self.happens(KEY, event)
        quota = AllowanceSet(
            allowance_id="alw_00000000000000000000000001",
            owner_id=KEY,
            account_id=ACCOUNT,
            scope="own",
            limit=9,
            period="day",
            counter_id=quota_counter(KEY, "day"),
        )
        assert isinstance(quota, ALLOWANCE.events)
        self.happens(quota.allowance_id, quota)
        self.counted = key_rules(self.directory, self.key)
        assert len(self.counted) == 2

    @precondition(lambda self: self.secrets and not self.ended)
    @rule(overlap=OVERLAPS)
    def rotate(self, overlap: int) -> None:
        before = len(self.secrets) - 1
        if before > 0:
            self.until[before - 1] = self.now  # an older overlap ends here
        self.until[before] = self.now + timedelta(seconds=overlap)
        new = Secret(DIGESTS.key(self.given_out()), DIGESTS.pepper_id, "…")
        for event in key_lineage.rotate(self.key, new, overlap, self.now):
            self.happens(KEY, event)

    @precondition(lambda self: self.secrets)
    @rule(seconds=st.sampled_from([1, 59, 60, 3600, 2_592_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.secrets)
    @rule()
    def used_for_the_first_time(self) -> None:
        digest = DIGESTS.key(self.secrets[-1])
        for event in key_lineage.rehash(self.key, digest, DIGESTS.pepper_id):
            self.happens(KEY, event)

    @precondition(lambda self: self.secrets and not self.ended)
    @rule(enabled=st.booleans())
    def paused_or_resumed(self, enabled: bool) -> None:
        for event in api_keys.amend(self.key, AmendApiKey(enabled=enabled), self.now):
            self.happens(KEY, event)

    @precondition(lambda self: self.secrets)
    @rule()
    def revoke(self) -> None:
        for event in api_keys.revoke(self.key):
            self.happens(KEY, event)
        self.ended = True

    def code(self, secret: str) -> str:
        """As the verifier does: our own digests first, then those of imported keys."""
        digests = DIGESTS.candidates(secret)
        found = self.directory.find(digests)
        if found is None:
            digests = DIGESTS.foreign(secret, self.directory.foreign_algorithms)
            found = self.directory.find(digests)
        if found is None:
            return "NOT_FOUND"
        assert found.id == KEY
        presented = Presented(superseded=found.digest not in digests)
        return judge(found, an_account(ACCOUNT), presented, self.now.timestamp())

    @invariant()
    def the_newest_works_and_an_older_one_until_its_overlap_ends(self) -> None:
        if not self.secrets:
            return
        codes = [self.code(secret) for secret in self.secrets]
        assert sum(code == "VALID" for code in codes) <= 2
        state = "REVOKED" if self.ended else "VALID" if self.key.enabled else "DISABLED"
        assert codes[-1] == state
        for number, (code, until) in enumerate(zip(codes[:-1], self.until[:-1], strict=True)):
            assert until is not None
            if number < len(codes) - 2:
                assert code == "NOT_FOUND"
            elif state == "VALID":
                assert code == ("VALID" if self.now < until else "EXPIRED")
            else:
                assert code == state

    @invariant()
    def it_stays_the_same_key_with_the_same_counters_and_limits(self) -> None:
        if not self.secrets:
            return
        assert key_rules(self.directory, self.key) == self.counted
        assert (self.key.id, self.key.generation) == (KEY, len(self.secrets))
        replayed: ApiKey | None = None
        for event in self.history:
            replayed = api_keys.evolve(replayed, event, self.now)
        assert replayed is not None
        assert (replayed.digest, replayed.previous_digest) == (
            self.key.digest,
            self.key.previous_digest,
        )


TestRotation = Rotation.TestCase
TestRotation.settings = settings(max_examples=examples(60), stateful_step_count=20, deadline=None)
