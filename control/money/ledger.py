"""The ledger: double entry, append-only, integer minor units, one currency per account (PRODUCT.md §3).

`post` is the only writer. Every transaction sums to zero in its one currency and carries a key saying what it books;
a key is booked once, so an action that runs again books nothing. The database refuses changing or deleting rows.

    outside:EUR ──top up──▶ wallet:<client>:EUR ──hold──▶ escrow:EUR ──settle──┬─▶ earnings:<practitioner>:EUR
                                     ▲──────────────── released ───────────────┼─▶ platform:EUR
    gateway:EUR ──capture──▶ transit:EUR ──hold──▶ escrow:EUR (as above, released back to transit)
         ▲──────refund────────┘

    earnings ──payout──▶ paid_out:EUR (an admin has paid a practitioner elsewhere)
    issued:CRD ──bought──▶ credits:<client>:<service>:CRD ──hold──▶ escrow:CRD ──spent──▶ issued:CRD

A credit is a unit of its own, CRD; the money it was bought with waits in escrow until it is spent (credits.py).
What the gateway really took and gave back goes through `gateway`; what was agreed with a card and is still to be done
there (an authorisation not captured, a refund not sent) stands in `transit`, which is zero when all of it is done.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from control.database import Database, insert_once, new_id
from control.errors import Conflict
from control.language import t
from control.models.money import LedgerAccount, LedgerEntry, LedgerTransaction


class Kind(StrEnum):
    OUTSIDE = "outside"  # money before it came here
    WALLET = "wallet"  # a client's balance
    ESCROW = "escrow"  # secured at booking, nobody's yet
    EARNINGS = "earnings"  # a practitioner's
    PLATFORM = "platform"  # the practice's fee
    GATEWAY = "gateway"  # clearing: minus what a gateway has collected for us and not given back
    TRANSIT = "transit"  # agreed with a payer's card, not yet done by the gateway
    PAID_OUT = "paid_out"  # given to practitioners, outside of Holdspace
    CREDITS = "credits"  # a client's, of one service
    ISSUED = "issued"  # clearing: minus the credits that are about


OWNED = frozenset({Kind.WALLET, Kind.EARNINGS, Kind.CREDITS})
NEVER_NEGATIVE = frozenset({Kind.WALLET, Kind.CREDITS})
CREDIT_UNIT = "CRD"
"""What credits are counted in, where an account has its currency."""


@dataclass(frozen=True, slots=True)
class Account:
    kind: Kind
    currency: str
    owner_id: str | None = None
    service_id: str | None = None

    def __post_init__(self) -> None:
        if (self.kind in OWNED) != (self.owner_id is not None):
            raise ValueError(f"{self.kind} account with owner {self.owner_id}")

    @property
    def code(self) -> str:
        if self.service_id is not None:  # cut to what the column holds; 96 bits of each id still tell them apart
            return f"{self.kind}:{(self.owner_id or '')[:24]}:{self.service_id[:24]}:{self.currency}"
        return ":".join(part for part in (self.kind, self.owner_id, self.currency) if part is not None)


def wallet(person_id: str, currency: str) -> Account:
    return Account(Kind.WALLET, currency, person_id)


def earnings(person_id: str, currency: str) -> Account:
    return Account(Kind.EARNINGS, currency, person_id)


def escrow(currency: str) -> Account:
    return Account(Kind.ESCROW, currency)


def platform(currency: str) -> Account:
    return Account(Kind.PLATFORM, currency)


def outside(currency: str) -> Account:
    return Account(Kind.OUTSIDE, currency)


def gateway(currency: str) -> Account:
    return Account(Kind.GATEWAY, currency)


def transit(currency: str) -> Account:
    return Account(Kind.TRANSIT, currency)


def paid_out(currency: str) -> Account:
    return Account(Kind.PAID_OUT, currency)


def credits_of(person_id: str, service_id: str) -> Account:
    return Account(Kind.CREDITS, CREDIT_UNIT, person_id, service_id)


def issued() -> Account:
    return Account(Kind.ISSUED, CREDIT_UNIT)


@dataclass(frozen=True, slots=True)
class Balance:
    kind: Kind
    currency: str
    amount_minor: int


def balanced(lines: Mapping[Account, int]) -> dict[Account, int]:
    """`lines` without zeros. ValueError if they don't sum to zero or mix currencies: that is our bug."""
    entries = {account: amount for account, amount in lines.items() if amount}
    if sum(entries.values()) != 0 or len({account.currency for account in entries}) > 1:
        raise ValueError(f"ledger transaction does not balance: {entries}")
    return entries


async def post(
    session: AsyncSession,
    key: str,
    lines: Mapping[Account, int],
    *,
    appointment_id: str | None,
    now: datetime,
) -> bool:
    """Book `lines` under `key`; False, and nothing booked, if the key was booked before.

    Raises Conflict("insufficient_funds") if a wallet or credits would go below zero. Owned accounts are locked in the
    order of their codes until the commit, so that two postings never wait for each other.
    """
    entries = balanced(lines)
    if not entries:
        return False
    transaction_id = new_id()
    if not await insert_once(
        session,
        LedgerTransaction,
        {"id": transaction_id, "key": key, "appointment_id": appointment_id, "created_at": now},
    ):
        return False
    await _open_accounts(session, entries)
    for account in sorted(entries, key=lambda account: account.code):
        if account.kind in OWNED:
            await _move_balance(session, account, entries[account])
    session.add_all(
        LedgerEntry(
            transaction_id=transaction_id,
            account_code=account.code,
            amount_minor=amount,
            currency=account.currency,
        )
        for account, amount in entries.items()
    )
    await session.flush()
    return True


async def _move_balance(session: AsyncSession, account: Account, amount_minor: int) -> None:
    change = update(LedgerAccount).where(LedgerAccount.code == account.code)
    if account.kind in NEVER_NEGATIVE:
        change = change.where(LedgerAccount.balance_minor + amount_minor >= 0)
    moved = await session.execute(change.values(balance_minor=LedgerAccount.balance_minor + amount_minor))
    if cast(CursorResult[Any], moved).rowcount != 1:
        what = t("wallet for this") if account.kind is Kind.WALLET else t("package: no credit is left")
        raise Conflict("insufficient_funds", t("There is not enough in the %(what)s.", what=what))


async def _open_accounts(session: AsyncSession, accounts: Iterable[Account]) -> None:
    wanted = {account.code: account for account in accounts}
    known = set(await session.scalars(select(LedgerAccount.code).where(LedgerAccount.code.in_(wanted))))
    for code in sorted(wanted.keys() - known):
        account = wanted[code]
        values = {
            "code": code,
            "kind": account.kind,
            "owner_id": account.owner_id,
            "currency": account.currency,
            "balance_minor": 0,
        }
        await insert_once(session, LedgerAccount, values)


async def balance_of(session: AsyncSession, account: Account) -> int:
    """What an account holds by its entries; for an owned account this equals its kept balance."""
    total = await session.scalar(
        select(func.coalesce(func.sum(LedgerEntry.amount_minor), 0)).where(LedgerEntry.account_code == account.code)
    )
    return int(total or 0)


async def balances(db: Database, person_id: str) -> tuple[Balance, ...]:
    """The money a person has here: wallets and earnings, by kind and currency."""
    async with db.reading() as session:
        rows = await session.scalars(
            select(LedgerAccount)
            .where(LedgerAccount.owner_id == person_id, LedgerAccount.kind != Kind.CREDITS)
            .order_by(LedgerAccount.kind, LedgerAccount.currency)
        )
        return tuple(Balance(Kind(row.kind), row.currency, row.balance_minor) for row in rows)


async def wallet_balance(session: AsyncSession, person_id: str, currency: str) -> int:
    held = await session.scalar(
        select(LedgerAccount.balance_minor).where(LedgerAccount.code == wallet(person_id, currency).code)
    )
    return int(held or 0)


async def discrepancies(db: Database) -> list[str]:
    """What is wrong with the books: transactions that don't sum to zero, balances that aren't their entries' sum."""
    async with db.reading() as session:
        amount = func.sum(LedgerEntry.amount_minor)
        unbalanced = await session.scalars(
            select(LedgerEntry.transaction_id)
            .group_by(LedgerEntry.transaction_id, LedgerEntry.currency)
            .having(amount != 0)
        )
        summed = select(LedgerEntry.account_code, amount.label("total")).group_by(LedgerEntry.account_code).subquery()
        drifted = await session.scalars(
            select(LedgerAccount.code)
            .outerjoin(summed, summed.c.account_code == LedgerAccount.code)
            .where(
                LedgerAccount.owner_id.is_not(None),
                LedgerAccount.balance_minor != func.coalesce(summed.c.total, 0),
            )
        )
        return [f"transaction {row} does not sum to zero" for row in unbalanced] + [
            f"account {code} differs from its entries" for code in drifted
        ]
