"""Verification: judged from memory, counted by group commit, answered when it is durable.

A verification that takes counters waits in the open batch. One flush at a time commits a
batch: its counters and its usage event in one transaction; only then are its requests
answered, while the next batch forms. Nothing is answered that isn't counted, nothing is
counted twice, and the more wait the more each commit carries. Verifications without a
counter are answered at once, and their rows ride along with the next flush.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from application.asks import (
    NOT_FOUND,
    Ask,
    Decided,
    KeyDirectory,
    Rehash,
    Resolved,
    Resolver,
    Settle,
)
from application.batches import MAX_ROWS, Batch
from application.begun import Begun, Reply
from application.counting import GroupCommit
from application.errors import DirectoryStale, StoreUnavailable
from application.ports import Digests, UsageLog
from application.rules import KeyRules, RuleBook
from application.settling import Rehashing, Settling
from application.verdicts import State, Verdict, denial_of_the_unknown, verdict_on
from domain.api_keys import ApiKey
from domain.errors import UnknownOperation
from domain.verification import (
    GRANTED,
    REFUSALS,
    UNSETTLED,
    Code,
    Presented,
    judge,
)

log = structlog.get_logger()

STALE_PAUSE_SECONDS = 0.02
STALE_TRIES = 25


class Verifier:
    """Judges, counts and answers. One for each process; `run` must be running.

    `stream` is this process's own usage stream: its versions number the flushes.
    """

    def __init__(
        self,
        directory: KeyDirectory,
        usage: UsageLog,
        digests: Digests,
        stream: str,
        log_id: str,
        max_staleness_seconds: float,
        clock: Callable[[], datetime],
        settle: Settle,
        rehash: Rehash,
    ) -> None:
        self._directory = directory
        self._rules = RuleBook(directory)
        self._counting = GroupCommit(usage, stream, clock)
        self._resolver = Resolver(directory, digests)
        self._log_id = log_id
        self._max_staleness = max_staleness_seconds
        self._settling = Settling(settle)
        self._rehashing = Rehashing(rehash)
        self._again: set[asyncio.Task[None]] = set()

    @property
    def rows_dropped(self) -> int:
        """How many rows were given up, because they could not be written for too long."""
        return self._counting.rows_dropped

    @property
    def changes(self) -> int:
        """Rises with everything that may change an answer."""
        return self._directory.changes

    async def run(self) -> None:
        """Flush batch after batch until `close`."""
        await self._counting.run()

    async def close(self) -> None:
        """Flush what is there, once; then nothing more is taken."""
        await self._counting.close()

    async def resolve(self, secret: str) -> Resolved:
        """The key of this secret, if there is one. Forged ones are refused before look-up."""
        return await self._resolver.resolve(secret)

    def remembered(self, secret: str) -> Resolved | None:
        """The same at once, or None: then `resolve` has to look."""
        return self._resolver.remembered(secret)

    def judge(self, resolved: Resolved, ip: str | None) -> Code:
        """Whether a key that acts for itself works now, as far as memory knows."""
        key = resolved.key
        account = None if key is None else self._directory.account(key.account_id)
        audience = None if key is None else key.audience
        presented = Presented(audience, None, ip, resolved.superseded)
        return judge(key, account, presented, time.time())

    def require_fresh(self) -> None:
        """Raises DirectoryStale when this process may have missed a change."""
        if not self._directory.fresh(self._max_staleness):
            raise DirectoryStale("the end of the decisions log was not seen in time")

    async def verify(self, ask: Ask, request_id: str) -> Verdict:
        """The verdict on this key. Raises UnknownOperation, DirectoryStale, StoreUnavailable.

        When the database knows a newer rule than this process, it looks again shortly.
        """
        self.require_fresh()
        return await self._count_in(ask, self._decide(ask), request_id)

    def begin(self, ask: Ask, request_id: str, reply: Reply) -> bool:
        """`verify` without a task: `reply` gets the verdict, or the exception.

        False where it takes the longer way; then nothing has happened, and `verify` is to be
        asked. Raises UnknownOperation, DirectoryStale.
        """
        self.require_fresh()
        decided = self._decide(ask)
        counting = self._counting
        batch = counting.room()
        if batch is None or not counting.counting:
            return False
        row = self._add(batch, ask, decided)
        begun = Begun(self, ask, decided, batch, row, request_id, reply)
        if decided.rules:
            counting.take(batch, row, decided, begun)
        else:
            begun.set_result((GRANTED, []))
        return True

    def told(self, begun: Begun, reason: int, left: list[State]) -> Verdict:
        """The verdict on a verification that was counted, or refused by a counter."""
        return self._told(
            begun.ask, begun.decided, begun.batch, begun.row, reason, left, begun.request_id
        )

    def ask_again(self, begun: Begun, reason: int) -> None:
        """Answer, in a task after all, a verification that a counter told to look again."""
        task = asyncio.get_running_loop().create_task(self._answer_again(begun, reason))
        self._again.add(task)
        task.add_done_callback(self._again.discard)

    async def _answer_again(self, begun: Begun, reason: int) -> None:
        try:
            await self._look_again(begun.decided, reason)
            verdict = await self._count_in(begun.ask, self._decide(begun.ask), begun.request_id)
        except Exception as error:
            begun.answer(error)
        else:
            begun.answer(verdict)

    async def verify_many(self, asks: Sequence[Ask], request_id: str) -> list[Verdict]:
        """The verdicts in order. None takes anything if one raises UnknownOperation."""
        self.require_fresh()
        decided = [self._decide(ask) for ask in asks]
        return await asyncio.gather(
            *(
                self._count_in(ask, each, request_id)
                for ask, each in zip(asks, decided, strict=True)
            )
        )

    def _decide(self, ask: Ask) -> Decided:
        key = ask.resolved.key
        known = None if key is None else self._rules.known(key.id)
        if known is None:
            return NOT_FOUND
        key = known.key
        presented = Presented(ask.audience, ask.query, ask.ip, ask.resolved.superseded)
        code = judge(key, known.account, presented, time.time())
        if code != "VALID":
            return Decided(key, code)
        return self._priced(ask, key, known.rules)

    def _priced(self, ask: Ask, key: ApiKey, known: KeyRules) -> Decided:
        rules, cost = known.counted, ask.cost
        amounts = (cost,) * len(rules)
        if known.rated:
            amounts = tuple(
                [cost if rule.cost is None else rule.cost if cost else 0 for rule in rules]
            )
        if ask.operation is not None:
            price = known.costs.get(ask.operation)
            if price is None:
                raise UnknownOperation(ask.operation, sorted(known.costs))
            if known.credits is not None:
                rules, amounts = (*rules, known.credits), (*amounts, price if cost else 0)
        return Decided(key, "VALID", rules, amounts)

    async def _count_in(self, ask: Ask, decided: Decided, request_id: str) -> Verdict:
        counting = self._counting
        for _ in range(STALE_TRIES):
            batch = counting.room()
            if not decided.rules:
                if batch is None:  # only while flushing has been impossible for a while
                    counting.rows_dropped += 1
                    batch, row = counting.open, MAX_ROWS
                else:
                    row = self._add(batch, ask, decided)
                return self._told(ask, decided, batch, row, GRANTED, [], request_id)
            if batch is None or not counting.counting:
                raise StoreUnavailable("counters can't be taken")
            answer: asyncio.Future[tuple[int, list[State]]] = (
                asyncio.get_running_loop().create_future()
            )
            row = self._add(batch, ask, decided)
            counting.take(batch, row, decided, answer)
            reason, left = await answer
            if reason >= GRANTED:
                return self._told(ask, decided, batch, row, reason, left, request_id)
            await self._look_again(decided, reason)
            decided = self._decide(ask)
        raise DirectoryStale("the counters know a rule that this process has not seen")

    def _add(self, batch: Batch, ask: Ask, decided: Decided) -> int:
        position = self._directory.position
        return batch.add(decided.key, decided.code, ask.cost, ask.labels, position, ask.operation)

    def _told(
        self,
        ask: Ask,
        decided: Decided,
        batch: Batch,
        row: int,
        reason: int,
        left: list[State],
        request_id: str,
    ) -> Verdict:
        code = decided.code if reason == GRANTED else REFUSALS[decided.rules[reason - 1].kind]
        self._welcome(ask, decided.key, code)
        return self._verdict(batch, row, decided.key, code, left, request_id)

    async def _look_again(self, decided: Decided, reason: int) -> None:
        if reason == UNSETTLED:
            await self._settling.settled(decided.rules[-1].account_id)
        else:
            await asyncio.sleep(STALE_PAUSE_SECONDS)
        self.require_fresh()

    def _welcome(self, ask: Ask, key: ApiKey | None, code: Code) -> None:
        if ask.resolved.superseded or ask.foreign_secret is None:
            return
        if key is not None and code == "VALID":
            self._rehashing.begin(key.id, ask.foreign_secret)

    def _verdict(
        self,
        batch: Batch,
        row: int,
        key: ApiKey | None,
        code: Code,
        left: list[State],
        request_id: str,
    ) -> Verdict:
        position = f"{self._log_id}:{self._directory.position}"
        verification_id = f"{batch.prefix}{row}"
        account = None if key is None else self._directory.account(key.account_id)
        if key is None or account is None:
            return denial_of_the_unknown(code, verification_id, request_id, position)
        return verdict_on(key, account, code, left, verification_id, request_id, position)
