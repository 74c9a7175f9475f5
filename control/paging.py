"""Cursor paging of long lists: a page is asked for by the sort value and id of the last row the asker has.

    class ThingsQuery(PageQuery): …          # control/api/bodies.py reads it from the address
    wanted = Wanted(query.limit, place_of(query.cursor))
    select = after(select, wanted, Thing.created_at, Thing.id)
    page = cut(rows, wanted, lambda row: Place(row.created_at, row.id))   # page.rows, page.next_cursor

Rows added or removed meanwhile neither repeat nor hide others, and page 400 costs what page 1 does (with an index on
the sort column). Pure, but for building the query.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, or_
from sqlalchemy.orm import InstrumentedAttribute

from control.errors import Malformed

MOST_PAGE = 100
DEFAULT_PAGE = 25
MOST_CURSOR_LENGTH = 1_000  # characters; ours stay under it with a name of 120 letters of any alphabet
EARLIEST_YEAR, LATEST_YEAR = 2000, 9000  # what both databases can compare without an overflow
MOST_NUMBER = 2**53

T = TypeVar("T")
Q = TypeVar("Q", bound=Select[*tuple[Any, ...]])
Value = datetime | str | int


@dataclass(frozen=True)
class Place:
    """Where a page ended: the value the list is sorted by, and the id that decides between equal ones."""

    value: Value
    id: str


@dataclass(frozen=True)
class Wanted:
    limit: int = DEFAULT_PAGE
    after: Place | None = None


@dataclass(frozen=True)
class Page(Generic[T]):
    rows: tuple[T, ...]
    next_cursor: str | None


def after(query: Q, wanted: Wanted, value: Any, id_column: InstrumentedAttribute[str], *, descending: bool = True) -> Q:
    """`query` sorted by (value, id) and cut to one row more than the page: that row says whether there is another."""
    place = wanted.after
    if place is not None:
        # An index finds where to begin by `reached`; an OR alone would read every row of the pages before.
        reached = value <= place.value if descending else value >= place.value
        query = query.where(reached, or_(value != place.value, id_column > place.id))
    return query.order_by(value.desc() if descending else value.asc(), id_column).limit(wanted.limit + 1)


def cut(rows: Sequence[T], wanted: Wanted, place: Callable[[T], Place]) -> Page[T]:
    """The page out of what `after` selected."""
    shown = tuple(rows[: wanted.limit])
    more = len(rows) > wanted.limit
    return Page(shown, cursor_for(place(shown[-1])) if more and shown else None)


def cursor_for(place: Place) -> str:
    value = place.value.isoformat() if isinstance(place.value, datetime) else place.value
    raw = json.dumps([value, place.id], separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def place_of(cursor_untrusted: str | None, kind: type[Value] = datetime) -> Place | None:
    """A cursor is what we gave out, for a list sorted by a `kind`; any other text is one Malformed."""
    if cursor_untrusted is None:
        return None
    try:
        if len(cursor_untrusted) > MOST_CURSOR_LENGTH:
            raise ValueError("length")
        padded = cursor_untrusted + "=" * (-len(cursor_untrusted) % 4)
        value, row_id = json.loads(base64.urlsafe_b64decode(padded))
        if not isinstance(row_id, str) or "\x00" in row_id:
            raise ValueError("shape")
        return Place(_value(value, kind), row_id)
    except (ValueError, TypeError, binascii.Error, OverflowError, RecursionError) as error:
        raise Malformed("cursor_invalid", "This cursor is not one of ours.") from error


def _value(value: Any, kind: type[Value]) -> Value:
    if kind is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None or not EARLIEST_YEAR <= moment.year <= LATEST_YEAR:
            raise ValueError("moment")
        return moment
    if type(value) is not kind or (isinstance(value, str) and "\x00" in value):
        raise ValueError("kind")
    if isinstance(value, int) and abs(value) > MOST_NUMBER:
        raise ValueError("number")
    return value
