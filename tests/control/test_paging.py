"""Cursor paging: every row once, whatever is added meanwhile, and a foreign cursor is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from control import audit
from control.database import Database
from control.errors import Malformed
from control.models.audit import AuditEntry
from control.paging import Page, Place, Wanted, after, cursor_for, cut, place_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


async def _page(db: Database, wanted: Wanted) -> Page[AuditEntry]:
    async with db.reading() as session:
        query = after(select(AuditEntry), wanted, AuditEntry.at, AuditEntry.id)
        rows = (await session.scalars(query)).all()
    return cut(rows, wanted, lambda row: Place(row.at, row.id))


async def _write(db: Database, at: datetime) -> None:
    async with db.transaction() as session:
        audit.record(session, None, "test", "thing:1", now=at)


async def test_pages_hold_every_row_once_with_equal_moments_and_rows_added_meanwhile(db: Database) -> None:
    for n in range(11):
        await _write(db, NOON + timedelta(minutes=n // 4))
    seen, cursor = [], None
    while True:
        page = await _page(db, Wanted(3, place_of(cursor)))
        seen += [row.id for row in page.rows]
        cursor = page.next_cursor
        await _write(db, NOON + timedelta(hours=1))
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 11


async def test_last_full_page_has_no_cursor(db: Database) -> None:
    for n in range(4):
        await _write(db, NOON + timedelta(minutes=n))
    first = await _page(db, Wanted(2))
    second = await _page(db, Wanted(2, place_of(first.next_cursor)))
    assert len(second.rows) == 2
    assert second.next_cursor is None


@given(
    st.one_of(
        st.integers(-(2**53), 2**53), st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=120)
    )
)
def test_cursor_gives_back_its_place(value: int | str) -> None:
    place = Place(value, "ab" * 16)
    assert place_of(cursor_for(place), type(value)) == place


@given(st.text(max_size=600))
def test_any_text_is_a_place_or_malformed(text: str) -> None:
    try:
        place = place_of(text)
    except Malformed:
        return
    assert place is None or isinstance(place.value, datetime)


@pytest.mark.parametrize("value", [5, "2026-03-02", "0001-01-01T00:00:00+00:00", None, [], {"a": 1}])
def test_cursor_of_another_list_is_refused(value: object) -> None:
    import base64
    import json

    cursor = base64.urlsafe_b64encode(json.dumps([value, "x"]).encode()).decode()
    with pytest.raises(Malformed):
        place_of(cursor)
