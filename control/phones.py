"""A person's telephone number: nothing is sent to it before a code sent there was typed in here.

One number at a time; a new one is unproven and takes the place of the old one only when it is proven.
"""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, update

from control.database import Database
from control.errors import Conflict, Invalid
from control.models.factors import PhoneProof
from control.models.people import Person
from control.notices.outbox import Notice, NoticeKind, enqueue
from control.second_factor import tell_and_record

CODE_LIFETIME = timedelta(minutes=10)
MOST_TRIES = 5
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def normalised_phone(text: str) -> str:
    """E.164. Invalid for anything else: a number without its country can't be called from here."""
    number = re.sub(r"[\s().\-/]", "", text)
    if number.startswith("00"):
        number = "+" + number[2:]
    if not _E164.fullmatch(number):
        raise Invalid("phone_invalid", "Write the number with its country, such as +351 912 345 678.", pointer="/phone")
    return number


async def send_code(db: Database, person_id: str, phone: str, *, now: datetime) -> str:
    """Owe a code to that number; the number as it is understood. A code sent before no longer works."""
    number = normalised_phone(phone)
    code = f"{secrets.randbelow(1_000_000):06}"
    async with db.transaction() as session:
        await session.execute(delete(PhoneProof).where(PhoneProof.person_id == person_id))
        session.add(
            PhoneProof(
                person_id=person_id,
                phone=number,
                code_hash=_hash(person_id, code),
                tries=0,
                created_at=now,
                expires_at=now + CODE_LIFETIME,
            )
        )
        notice = Notice(NoticeKind.PHONE_CODE, person_id, extra={"to_number": number}, secrets={"code": code})
        await enqueue(session, notice, now=now)
    return number


async def prove(db: Database, person_id: str, code: str, *, now: datetime) -> str:
    """The number is proven. Invalid("code_wrong"), and after five of them Conflict: a new code has to be sent."""
    over = Conflict("code_over", "This code can't be used any more. Let us send you a new one.")
    async with db.transaction() as session:
        counted = await session.execute(
            update(PhoneProof)
            .where(PhoneProof.person_id == person_id, PhoneProof.tries < MOST_TRIES, PhoneProof.expires_at > now)
            .values(tries=PhoneProof.tries + 1)
        )
        if cast(CursorResult[Any], counted).rowcount != 1:
            raise over
    async with db.transaction() as session:
        row = await session.get(PhoneProof, person_id, with_for_update=True)
        if row is None:
            raise over
        if not secrets.compare_digest(row.code_hash, _hash(person_id, code)):
            raise Invalid("code_wrong", "This is not the code we sent.", pointer="/code")
        await session.delete(row)
        await session.execute(update(Person).where(Person.id == person_id).values(phone=row.phone, phone_proven_at=now))
        await tell_and_record(session, person_id, "phone_proven", now=now)
        return row.phone


async def forget(db: Database, person_id: str) -> None:
    """No number any more. Safe to repeat."""
    async with db.transaction() as session:
        await session.execute(delete(PhoneProof).where(PhoneProof.person_id == person_id))
        await session.execute(update(Person).where(Person.id == person_id).values(phone=None, phone_proven_at=None))


def _hash(person_id: str, code: str) -> str:
    digits = "".join(code.split())
    return hashlib.sha256(f"{person_id} {digits}".encode("utf-8", "replace")).hexdigest()
