"""The contract of a payment gateway: what Holdspace asks of one, and what one must not do.

    GatewayProblem
    ├── Refused      the gateway said no, for good; `code` is its word ("card_declined")
    ├── Unreachable  nobody knows whether it was done: the same call is repeated under its key, after looking
    └── Forged       a webhook that the gateway did not sign

A gateway translates and nothing else. It must not touch the database, decide what an attempt means for an
appointment, repeat a call by itself, invent idempotency keys or block the event loop. Amounts are integer minor units.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class GatewayProblem(Exception):
    """The parent of everything a gateway may raise."""


class Refused(GatewayProblem):
    def __init__(self, code: str, ref: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.ref = ref
        """The attempt at the gateway that was refused, where there is one."""


class Unreachable(GatewayProblem):
    def __init__(self, code: str, *, answered: bool) -> None:
        super().__init__(code)
        self.code = code
        self.answered = answered
        """It answered with an error of its own, which it would repeat under the same key."""


class Forged(GatewayProblem):
    pass


class Standing(StrEnum):
    """Where an attempt stands at the gateway."""

    NEEDS_METHOD = "needs_method"  # no card yet, or the last one was refused
    NEEDS_ACTION = "needs_action"  # the payer's bank asks them something (3-D Secure)
    WORKING = "working"
    AUTHORISED = "authorised"  # promised by the bank, not taken
    CAPTURED = "captured"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Wish:
    """What to authorise. `payment_id` is kept by the gateway, so that the attempt is found again by it."""

    payment_id: str
    amount_minor: int
    currency: str
    manual_capture: bool
    method_token: str | None
    """The payer's card as the gateway's token, tried at once; None leaves entering it to the gateway's element."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """An attempt as the gateway has it now."""

    ref: str
    payment_id: str | None
    standing: Standing
    amount_minor: int
    captured_minor: int
    currency: str
    client_secret: str | None = None
    failure_code: str | None = None


class RefundStanding(StrEnum):
    WORKING = "working"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SeenRefund:
    ref: str
    refund_id: str | None
    standing: RefundStanding
    amount_minor: int
    failure_code: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook: only a reason to look. Its content is not believed beyond these ids."""

    id: str
    kind: str
    attempt_ref: str | None
    refund_ref: str | None


class Gateway(Protocol):
    """Every call may raise Unreachable; those that change something take the stored `key`."""

    async def authorise(self, wish: Wish, key: str) -> Seen:
        """Begin an attempt. Must not raise for a card that is refused: that is an attempt in NEEDS_METHOD."""

    async def capture(self, ref: str, amount_minor: int, key: str) -> Seen:
        """Take all or part of what was authorised; the rest is let go. Must not take twice. Raises Refused."""

    async def cancel(self, ref: str, key: str) -> Seen:
        """Call off what has not been taken. Must not refund. Raises Refused if it was taken."""

    async def refund(self, ref: str, refund_id: str, amount_minor: int, key: str) -> SeenRefund:
        """Give back part or all of what was taken. Raises Refused."""

    async def fetch(self, ref: str) -> Seen:
        """The attempt as it is now. Must not answer from memory or from a webhook."""

    async def find(self, wish: Wish) -> tuple[Seen, ...]:
        """Attempts begun for this payment, where the answer that named them was lost."""

    async def fetch_refund(self, refund_ref: str) -> SeenRefund: ...

    async def find_refund(self, ref: str, refund_id: str) -> SeenRefund | None:
        """The refund begun under our id, where the answer was lost."""

    def verify_webhook(self, raw: bytes, headers: Mapping[str, str]) -> Event:
        """`headers` are found in any case.

        Must check the signature on the bytes as they came, before reading them. Raises Forged.
        """

    async def close(self) -> None: ...
