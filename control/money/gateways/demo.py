"""A test gateway for practices without keys: cards that are only words, kept in a small file of its own, no money.

It stands where Stripe or Razorpay would, behind the same contract, so that everything around a payment can be tried.
Pages and receipts say plainly that no real money moves. Each call is one SQLite transaction off the loop.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from control.money.gateways import Event, Forged, RefundStanding, Refused, Seen, SeenRefund, Standing, Wish

WORKS, DECLINED, ASKS = "demo_works", "demo_declined", "demo_asks"

_TABLES = """
CREATE TABLE IF NOT EXISTS attempts (
    ref TEXT PRIMARY KEY, key TEXT UNIQUE, payment_id TEXT, standing TEXT, amount INTEGER, captured INTEGER,
    currency TEXT, manual INTEGER, failure TEXT);
CREATE INDEX IF NOT EXISTS attempts_of ON attempts (payment_id);
CREATE TABLE IF NOT EXISTS refunds (
    ref TEXT PRIMARY KEY, key TEXT UNIQUE, refund_id TEXT, attempt TEXT, amount INTEGER);
"""


class DemoGateway:
    def __init__(self, path: Path | None = None) -> None:
        """`path` of the file; None keeps everything in memory, for tests."""
        self._path = path
        self._opened: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    async def authorise(self, wish: Wish, key: str) -> Seen:
        return await asyncio.to_thread(self._authorise, wish, key)

    async def capture(self, ref: str, amount_minor: int, key: str) -> Seen:
        del key  # what is captured is captured: a repeat is refused, and looked up by whoever asked
        return await asyncio.to_thread(self._finish, ref, Standing.AUTHORISED, Standing.CAPTURED, amount_minor)

    async def cancel(self, ref: str, key: str) -> Seen:
        del key
        return await asyncio.to_thread(self._finish, ref, None, Standing.CANCELLED, 0)

    async def refund(self, ref: str, refund_id: str, amount_minor: int, key: str) -> SeenRefund:
        return await asyncio.to_thread(self._refund, ref, refund_id, amount_minor, key)

    async def fetch(self, ref: str) -> Seen:
        return await asyncio.to_thread(self._seen, ref)

    async def find(self, wish: Wish) -> tuple[Seen, ...]:
        def look() -> tuple[Seen, ...]:
            with self._lock, self._store:
                rows = self._store.execute("SELECT ref FROM attempts WHERE payment_id = ?", (wish.payment_id,))
                refs = [str(row[0]) for row in rows]
            return tuple(map(self._seen, refs))

        return await asyncio.to_thread(look)

    async def fetch_refund(self, refund_ref: str) -> SeenRefund:
        found = await asyncio.to_thread(self._seen_refund, "ref", refund_ref)
        if found is None:
            raise Refused("refund_unknown")
        return found

    async def find_refund(self, ref: str, refund_id: str) -> SeenRefund | None:
        return await asyncio.to_thread(self._seen_refund, "refund_id", refund_id)

    async def answer(self, ref: str, *, approve: bool) -> None:
        """The payer answers the imitated question of their bank. Only this gateway has it."""
        await asyncio.to_thread(self._answer, ref, approve)

    def verify_webhook(self, raw: bytes, headers: Mapping[str, str]) -> Event:
        raise Forged("the test gateway sends none")

    async def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @property
    def _store(self) -> sqlite3.Connection:
        """Opened by the first who pays. Only under the lock."""
        if self._opened is None:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            self._opened = sqlite3.connect(str(self._path or ":memory:"), check_same_thread=False, timeout=10)
            self._opened.executescript(_TABLES)
        return self._opened

    # -- in a thread ---------------------------------------------------------------------------------------------

    def _authorise(self, wish: Wish, key: str) -> Seen:
        charged = Standing.AUTHORISED if wish.manual_capture else Standing.CAPTURED
        standing = {DECLINED: Standing.NEEDS_METHOD, ASKS: Standing.NEEDS_ACTION}.get(wish.method_token or "", charged)
        captured = wish.amount_minor if standing is Standing.CAPTURED else 0
        failure = "insufficient_funds" if standing is Standing.NEEDS_METHOD else None
        with self._lock, self._store:
            self._store.execute(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                (
                    *(f"demo_{uuid4().hex}", key, wish.payment_id, standing, wish.amount_minor, captured),
                    *(wish.currency, wish.manual_capture, failure),
                ),
            )
            (ref,) = self._store.execute("SELECT ref FROM attempts WHERE key = ?", (key,)).fetchone()
        return self._seen(ref)

    def _finish(self, ref: str, only: Standing | None, to: Standing, captured: int) -> Seen:
        with self._lock, self._store:
            changed = self._store.execute(
                "UPDATE attempts SET standing = ?, captured = ? WHERE ref = ? AND standing NOT IN (?, ?)"
                " AND (? IS NULL OR standing = ?) AND ? <= amount",
                (to, captured, ref, Standing.CAPTURED, Standing.CANCELLED, only, only, captured),
            )
            if changed.rowcount != 1:
                raise Refused("unexpected_state", ref)
        return self._seen(ref)

    def _refund(self, ref: str, refund_id: str, amount: int, key: str) -> SeenRefund:
        with self._lock, self._store:
            self._store.execute(
                "INSERT INTO refunds SELECT ?, ?, ?, ref, ? FROM attempts WHERE ref = ? AND captured >= ? +"
                " (SELECT COALESCE(SUM(amount), 0) FROM refunds WHERE attempt = ?) ON CONFLICT (key) DO NOTHING",
                (f"demo_{uuid4().hex}", key, refund_id, amount, ref, amount, ref),
            )
        found = self._seen_refund("key", key)
        if found is None:
            raise Refused("more_than_was_taken", ref)
        return found

    def _answer(self, ref: str, approve: bool) -> None:
        with self._lock, self._store:
            if approve:
                self._store.execute(
                    "UPDATE attempts SET standing = CASE WHEN manual THEN ? ELSE ? END,"
                    " captured = CASE WHEN manual THEN 0 ELSE amount END WHERE ref = ? AND standing = ?",
                    (Standing.AUTHORISED, Standing.CAPTURED, ref, Standing.NEEDS_ACTION),
                )
            else:
                self._store.execute(
                    "UPDATE attempts SET standing = ?, failure = ? WHERE ref = ? AND standing = ?",
                    (Standing.NEEDS_METHOD, "authentication_required", ref, Standing.NEEDS_ACTION),
                )

    def _seen(self, ref: str) -> Seen:
        with self._lock, self._store:
            row = self._store.execute(
                "SELECT payment_id, standing, amount, captured, currency, failure FROM attempts WHERE ref = ?", (ref,)
            ).fetchone()
        if row is None:
            raise Refused("attempt_unknown", ref)
        payment_id, standing, amount, captured, currency, failure = row
        return Seen(ref, payment_id, Standing(standing), amount, captured, currency, None, failure)

    def _seen_refund(self, column: str, value: str) -> SeenRefund | None:
        with self._lock, self._store:
            row = self._store.execute(
                f"SELECT ref, refund_id, amount FROM refunds WHERE {column} = ?",  # noqa: S608  one of our three names
                (value,),
            ).fetchone()
        return None if row is None else SeenRefund(row[0], row[1], RefundStanding.SUCCEEDED, row[2])
