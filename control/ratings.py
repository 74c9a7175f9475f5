"""Ratings: 1 to 5 stars once per person and completed session, and what of them is public (PRODUCT.md §4, 8).

Public is what its author made public: four and five stars at once, three and fewer only by a second, separate
confirmation. What a practitioner says of a client is private to staff. Private means the practitioner sees neither
text nor stars.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from control.accounts import Actor
from control.appointment_moves import load, party_of
from control.appointment_states import State
from control.audit import record
from control.database import Database, new_id
from control.errors import Conflict, Forbidden, NotFound
from control.lifecycle import Party
from control.models.people import Person
from control.models.ratings import Rating

GOOD = 4  # stars from which a public rating needs no second confirmation


@dataclass(frozen=True, slots=True)
class NewRating:
    stars: int
    feedback: str = ""
    is_public: bool = False
    would_recommend: bool | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RatingView:
    id: str
    appointment_id: str
    stars: int
    feedback: str
    is_public: bool
    awaits_confirmation: bool
    would_recommend: bool | None
    tags: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """Of the public ratings: `mean` to one decimal, None without any."""

    mean: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Review:
    """A public rating as the profile shows it. The author's first name only."""

    author_name: str
    stars: int
    feedback: str
    created_at: datetime


def is_shown() -> ColumnElement[bool]:
    """The SQL of "public": of a practitioner, by a client, and confirmed where it had to be."""
    confirmed = or_(Rating.stars >= GOOD, Rating.publication_confirmed_at.is_not(None))
    return and_(Rating.is_public == true(), Rating.author_role == Party.CLIENT, confirmed)


async def rate(db: Database, actor: Actor, appointment_id: str, given: NewRating, *, now: datetime) -> RatingView:
    """Keep a rating; the very same one again is answered alike. Conflict("not_completed" | "already_rated")."""
    try:
        async with db.transaction() as session:
            row = await load(session, appointment_id)
            party = party_of(actor, row)
            if party is Party.ADMIN:
                raise Forbidden("not_in_session", "Only who was in this session can rate it.")
            if row.state != State.COMPLETED:
                raise Conflict("not_completed", "A session can be rated once it has taken place.", status_now=row.state)
            client = party is Party.CLIENT
            rating = Rating(
                id=new_id(),
                appointment_id=row.id,
                author_id=actor.person_id,
                subject_id=row.practitioner_id if client else row.client_id,
                author_role=party,
                stars=given.stars,
                feedback=given.feedback,
                is_public=given.is_public and client,
                would_recommend=given.would_recommend,
                tags=list(given.tags),
                created_at=now,
            )
            session.add(rating)
            await session.flush()
            record(session, actor, "appointment.rate", f"appointment:{row.id}", now=now)
            return _view(rating)
    except IntegrityError:
        before = await mine(db, actor, appointment_id)
        if before is None:
            raise
        if _same(before, given):
            return before
        raise Conflict("already_rated", "You have rated this session already.") from None


def _same(before: RatingView, given: NewRating) -> bool:
    return (before.stars, before.feedback, before.would_recommend, before.tags) == (
        given.stars,
        given.feedback,
        given.would_recommend,
        given.tags,
    )


def _view(row: Rating) -> RatingView:
    return RatingView(
        row.id,
        row.appointment_id,
        row.stars,
        row.feedback,
        row.is_public,
        row.is_public and row.stars < GOOD and row.publication_confirmed_at is None,
        row.would_recommend,
        tuple(row.tags),
        row.created_at,
    )


async def confirm_publication(db: Database, actor: Actor, appointment_id: str, *, now: datetime) -> RatingView:
    """The second, separate yes to publishing three stars or fewer. Raises NotFound if there is nothing to confirm."""
    async with db.transaction() as session:
        row = await session.scalar(
            select(Rating).where(
                Rating.appointment_id == appointment_id,
                Rating.author_id == actor.person_id,
                Rating.is_public.is_(True),
            )
        )
        if row is None:
            raise NotFound
        if row.publication_confirmed_at is None:
            row.publication_confirmed_at = now
            record(session, actor, "rating.published", f"appointment:{appointment_id}", now=now)
        return _view(row)


async def mine(db: Database, actor: Actor, appointment_id: str) -> RatingView | None:
    async with db.reading() as session:
        row = await session.scalar(
            select(Rating).where(Rating.appointment_id == appointment_id, Rating.author_id == actor.person_id)
        )
        return None if row is None else _view(row)


async def rated_by(db: Database, actor: Actor, appointment_ids: Iterable[str]) -> frozenset[str]:
    """Those of the appointments this person has rated. One query."""
    async with db.reading() as session:
        found = await session.scalars(
            select(Rating.appointment_id).where(
                Rating.author_id == actor.person_id, Rating.appointment_id.in_(tuple(appointment_ids))
            )
        )
        return frozenset(found)


async def summary(db: Database, practitioner_id: str) -> Summary:
    async with db.reading() as session:
        total, count = (
            await session.execute(
                select(func.coalesce(func.sum(Rating.stars), 0), func.count()).where(
                    Rating.subject_id == practitioner_id, is_shown()
                )
            )
        ).one()
        return summary_of(int(total), int(count))


def summary_of(total_stars: int, count: int) -> Summary:
    return Summary(None if count == 0 else (20 * total_stars + count) // (2 * count) / 10, count)


async def reviews(db: Database, practitioner_id: str, *, limit: int = 20) -> tuple[Review, ...]:
    """The newest public ratings that say something."""
    async with db.reading() as session:
        rows = await session.execute(
            select(Rating, Person.name)
            .join(Person, Person.id == Rating.author_id)
            .where(Rating.subject_id == practitioner_id, is_shown(), Rating.feedback != "")
            .order_by(Rating.created_at.desc(), Rating.id)
            .limit(limit)
        )
        return tuple(Review(name.split(" ")[0], row.stars, row.feedback, row.created_at) for row, name in rows)
