"""The demo practice "Linden Row": two practitioners, a client, an admin, services, free time from now on.

Loading again adds only what is missing, so it runs at every start with `--demo`. Every person here is marked as demo
and has a password that anyone can read, which is why settings refuse demo off localhost. Nothing outside demo mode
may import this file's people.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from control import accounts, demo_texts
from control.accounts import hash_password
from control.config import PracticeSettings, Settings
from control.consents import Purpose, owner_of
from control.database import Database
from control.models.consents import ConsentText
from control.models.people import Person, Role
from control.models.practice import AvailabilityRule, AvailabilityWindow, PractitionerProfile, Service
from control.money.payments import top_up

DAYS_AHEAD = 21
SOON_STEP = timedelta(minutes=5)  # short sessions start that often for the next SOON: always one to try right away
SOON = timedelta(hours=2)
SOON_LEAD = timedelta(minutes=2)  # time to book before it starts
SATURDAY = 5
WALLET_MINOR = 40_000
CURRENCY = "EUR"


@dataclass(frozen=True)
class SignIn:
    """One demo person's way in, to be printed and shown."""

    name: str
    email: str
    password: str = field(repr=False)
    role: Role
    time_zone: str


AMARA = SignIn("Dr. Amara Okafor", "amara@lindenrow.example", "demo-amara-okafor", Role.PRACTITIONER, "Europe/Lisbon")
ELIO = SignIn("Elio Ferrante", "elio@lindenrow.example", "demo-elio-ferrante", Role.PRACTITIONER, "Europe/Rome")
MINA = SignIn("Mina Halvorsen", "mina@example.com", "demo-mina-halvorsen", Role.CLIENT, "Europe/Oslo")
CLARA = SignIn("Clara Duarte", "clara@lindenrow.example", "demo-clara-duarte", Role.ADMIN, "Europe/Lisbon")
EVERYBODY = (AMARA, ELIO, MINA, CLARA)

HOURS = ((time(9), time(13)), (time(14), time(17)))


@dataclass(frozen=True)
class DemoService:
    name: str
    description: str
    minutes: int
    price_minor: int
    mode: str = "video"
    notice_minutes: int = 0
    recording_offered: bool = False
    is_discovery: bool = False


SHORT = DemoService(
    "Short check-in", "Fifteen minutes, whenever you need them. Starts from now on.", 15, 1500, recording_offered=True
)
SERVICES = {
    AMARA.email: (
        DemoService(
            "Individual session",
            "Fifty minutes for what is heaviest today.",
            50,
            6500,
            notice_minutes=120,
            recording_offered=True,
        ),
        SHORT,
        DemoService("Discovery call", "Fifteen minutes to see whether we fit.", 15, 0, is_discovery=True),
    ),
    ELIO.email: (
        DemoService("Breath and body", "Slow, guided, eyes closed.", 45, 4800, mode="audio", notice_minutes=120),
        DemoService("Discovery call", "A first hello.", 15, 0, is_discovery=True),
    ),
}


def dressed(settings: Settings) -> Settings:
    """The settings with the demo practice's name where the operator has set none."""
    if settings.practice != PracticeSettings(languages=settings.practice.languages):
        return settings
    practice = PracticeSettings(
        name="Linden Row",
        address="Rua da Rosa 112, Lisbon",
        time_zone="Europe/Lisbon",
        contact_email=CLARA.email,
        languages=settings.practice.languages,
    )
    return settings.model_copy(update={"practice": practice})


async def load(db: Database, *, now: datetime) -> Sequence[SignIn]:
    """Bring the demo practice up to date; who can sign in. Repeated, it only adds free time."""
    hashes = await _missing_passwords(db)
    async with db.transaction() as session:
        for who in EVERYBODY:
            if who.email in hashes:
                await _add(session, who, hashes[who.email], now)
        await _publish_texts(session, now)
        for practitioner in (AMARA, ELIO):
            await _open_week(session, practitioner, now)
        mina = await _id_of(session, MINA)
        await top_up(session, None, mina, WALLET_MINOR, CURRENCY, key=f"demo:{mina}", now=now)
    await open_soon(db, now=now)
    return EVERYBODY


async def open_soon(db: Database, *, now: datetime) -> None:
    """Keep short sessions with Dr. Amara starting every few minutes from now; called now and then while serving."""
    async with db.transaction() as session:
        amara = await _id_of(session, AMARA)
        service_id = await session.scalar(
            select(Service.id).where(Service.practitioner_id == amara, Service.name == SHORT.name)
        )
        await session.execute(
            delete(AvailabilityWindow).where(
                AvailabilityWindow.practitioner_id == amara, AvailabilityWindow.service_id == service_id
            )
        )
        session.add_all(_soon_windows(amara, service_id, ZoneInfo(AMARA.time_zone), now))


def _soon_windows(
    practitioner_id: str, service_id: str | None, zone: ZoneInfo, now: datetime
) -> Iterator[AvailabilityWindow]:
    """One window per offset, so that slots of a quarter of an hour start every SOON_STEP."""
    first = (now + SOON_LEAD).astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    for offset in range(0, SHORT.minutes, int(SOON_STEP.total_seconds() // 60)):
        start = first + timedelta(minutes=offset)
        yield _window(
            practitioner_id, service_id, _without_midnight(zone, start, start + SOON), start, start + SOON, now
        )


def _without_midnight(zone: ZoneInfo, start: datetime, end: datetime) -> ZoneInfo:
    """The zone to write a window in, whose wall times are of one day: another one in the hours around midnight."""
    return zone if start.astimezone(zone).date() == end.astimezone(zone).date() else ZoneInfo("Asia/Tokyo")


def _window(
    practitioner_id: str, service_id: str | None, zone: ZoneInfo, start: datetime, end: datetime, now: datetime
) -> AvailabilityWindow:
    return AvailabilityWindow(
        practitioner_id=practitioner_id,
        service_id=service_id,
        local_date=start.astimezone(zone).date().isoformat(),
        local_start=f"{start.astimezone(zone):%H:%M}",
        local_end=f"{end.astimezone(zone):%H:%M}",
        time_zone=zone.key,
        starts_at=start,
        ends_at=end,
        created_at=now,
    )


async def _missing_passwords(db: Database) -> dict[str, str]:
    async with db.reading() as session:
        emails = [who.email for who in EVERYBODY]
        known = set(await session.scalars(select(Person.email).where(Person.email.in_(emails))))
    return {who.email: await hash_password(who.password) for who in EVERYBODY if who.email not in known}


async def _id_of(session: AsyncSession, who: SignIn) -> str:
    return (await session.scalars(select(Person.id).where(Person.email == who.email))).one()


async def _add(session: AsyncSession, who: SignIn, password_hash: str, now: datetime) -> None:
    person = await accounts.add_person(
        session,
        email=who.email,
        name=who.name,
        roles=[who.role],
        time_zone=who.time_zone,
        password_hash=password_hash,
        proven=True,
        is_demo=True,
        now=now,
    )
    if who.role is not Role.PRACTITIONER:
        return
    words = demo_texts.PROFILES[who.email]
    session.add(
        PractitionerProfile(
            person_id=person.id,
            headline=words.headline,
            about=words.about,
            modalities=list(words.modalities),
            languages=list(words.languages),
            aftercare=words.aftercare,
            created_at=now,
        )
    )
    await session.flush()
    session.add_all(_service_row(person.id, service, now) for service in SERVICES[who.email])


def _service_row(practitioner_id: str, service: DemoService, now: datetime) -> Service:
    return Service(
        practitioner_id=practitioner_id,
        name=service.name,
        description=service.description,
        mode=service.mode,
        length_minutes=service.minutes,
        price_minor=service.price_minor,
        currency=CURRENCY,
        minimum_notice_minutes=service.notice_minutes,
        recording_offered=service.recording_offered,
        is_discovery=service.is_discovery,
        created_at=now,
    )


async def _publish_texts(session: AsyncSession, now: datetime) -> None:
    """Each practitioner's informed consent, and the practice's consent to recording: once."""
    for practitioner in (AMARA, ELIO):
        practitioner_id = await _id_of(session, practitioner)
        for purpose in Purpose:
            owner = owner_of(purpose, practitioner_id)
            known = await session.scalar(
                select(ConsentText.id).where(ConsentText.purpose == purpose, ConsentText.owner == owner).limit(1)
            )
            if known is None:
                title, body = demo_texts.CONSENTS[purpose]
                session.add(
                    ConsentText(purpose=purpose, owner=owner, version=1, title=title, body=body, created_at=now)
                )
                await session.flush()


async def _open_week(session: AsyncSession, who: SignIn, now: datetime) -> None:
    """Working hours of every weekday for DAYS_AHEAD days, as weekly rules; loading again extends them.

    Short sessions are left out: their own windows (`open_soon`) would lie across these.
    """
    practitioner_id = await _id_of(session, who)
    today = now.astimezone(ZoneInfo(who.time_zone)).date()
    last = (today + timedelta(days=DAYS_AHEAD)).isoformat()
    rules = await session.scalars(select(AvailabilityRule).where(AvailabilityRule.practitioner_id == practitioner_id))
    known = {(rule.weekday, rule.local_start, rule.service_id): rule for rule in rules}
    services = await session.scalars(
        select(Service.id).where(Service.practitioner_id == practitioner_id, Service.name != SHORT.name)
    )
    for service_id, weekday, (opens, closes) in product(services.all(), range(SATURDAY), HOURS):
        there = known.get((weekday, f"{opens:%H:%M}", service_id))
        if there is not None:
            there.valid_until = max(there.valid_until or last, last)
            continue
        session.add(
            AvailabilityRule(
                practitioner_id=practitioner_id,
                service_id=service_id,
                weekday=weekday,
                local_start=f"{opens:%H:%M}",
                local_end=f"{closes:%H:%M}",
                time_zone=who.time_zone,
                valid_from=today.isoformat(),
                valid_until=last,
                created_at=now,
            )
        )
