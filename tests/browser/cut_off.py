"""Recordings as a server leaves them that was killed in the middle: rows that are still open, journals never closed.

Written before the server starts, which then does with them what it does after a crash: it recovers them, finishes
them, makes films of them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

from sqlalchemy import select

from control import demo, keyfiles
from control.commands import with_database
from control.config import Settings
from control.config_reading import read
from control.database import Database
from control.models.appointments import Appointment
from control.models.consents import Consent, ConsentText
from control.models.people import Person
from control.models.practice import Service
from control.models.recordings import Recording
from recorder.storage import Shelf
from tests.recorder.studio import START_US, Camera, Packet, audio, event, key, prologue, video, write_journal

AMARA, MINA = "amara@lindenrow.example", "mina@example.com"
TALK_S = 12
"""Length of the talk of both, in pictures and sound."""
PAUSED_S = 6
LONG_S = 900
"""Length of the recording of one voice: far more than a film of it takes to begin."""


@dataclass(frozen=True)
class CutOff:
    appointment: str
    talk: str
    long: str


def leave_recordings(data_dir: Path) -> CutOff:
    """A talk of Dr. Amara and Mina with pictures, and a long one of a voice. Blocks."""
    settings = read({"HOLDSPACE_SERVER__DATA_DIR": str(data_dir)}, None)
    now = datetime.now(UTC) - timedelta(hours=2)

    async def add(db: Database) -> tuple[CutOff, dict[int, str]]:
        await demo.load(db, now=now)
        async with db.transaction() as session:
            people = {email: await session.scalar(select(Person.id).where(Person.email == email)) for email in PEOPLE}
            service = (await session.scalars(select(Service).where(Service.name == demo.SHORT.name))).one()
            about = _appointment(service, people[MINA] or "", now)
            session.add(about)
            await session.flush()
            text = await session.scalar(select(ConsentText.id).where(ConsentText.purpose == "recording"))
            for person in people.values():
                said = {"person_id": person, "purpose": "recording", "answer": "yes", "answered_at": now}
                session.add(Consent(appointment_id=about.id, text_id=text, **said))
            made = [
                Recording(
                    appointment_id=about.id,
                    practitioner_id=people[AMARA],
                    state=state,
                    pressed="on",
                    started_at=now + timedelta(minutes=minutes),
                )
                # One recording of a session is open at a time; the other was being finished when the server went.
                for state, minutes in (("recording", 1), ("finishing", 0))
            ]
            session.add_all(made)
            await session.flush()
            return CutOff(about.id, made[0].id, made[1].id), {1: people[AMARA] or "", 2: people[MINA] or ""}

    left, people = with_database(settings, add)
    _leave(settings, left.talk, people, _talk())
    _leave(settings, left.long, people, _long_voice())
    return left


PEOPLE = (AMARA, MINA)
NAMES = {1: "Dr. Amara Okafor", 2: "Mina Halvorsen"}


def _appointment(service: Service, client: str, now: datetime) -> Appointment:
    ends_at = now + timedelta(minutes=service.length_minutes)
    return Appointment(
        practitioner_id=service.practitioner_id,
        client_id=client,
        service_id=service.id,
        state="completed",
        starts_at=now,
        ends_at=ends_at,
        busy_from=now,
        busy_until=ends_at,
        client_time_zone="Europe/Oslo",
        service_name=service.name,
        mode=service.mode,
        recording_offered=True,
        price_minor=0,
        currency="EUR",
        platform_fee_bp=0,
        late_window_minutes=0,
        late_fee_bp=0,
        no_show_fee_bp=0,
        opens_before_s=300,
        no_show_after_s=900,
        present_for_s=30,
        grace_s=600,
        created_at=now,
        started_at=now,
        ended_at=ends_at,
        client_admitted_at=now,
        practitioner_admitted_at=now,
    )


def _leave(settings: Settings, recording_id: str, people: dict[int, str], packets: list[Packet]) -> None:
    shelf = Shelf(settings.recordings_dir, recording_id)
    shelf.create()
    shelf.write_keys({key_id: key(key_id) for key_id in range(3)}, keyfiles.load(settings).recording_key)
    who = [
        event(START_US + 1, event="included", key_id=key_id, participant=person, name=NAMES[key_id])
        for key_id, person in people.items()
    ]
    begin, *rest = prologue()
    others = [packet for packet in rest if b"included" not in packet.payload]
    ordered = sorted([*others, *packets], key=lambda packet: packet.arrival_us)
    write_journal(shelf.journal_path, [begin, *who, *ordered], closed=False)


def _tapped(camera: Camera, source: str) -> Packet:
    about = {"tap": camera.tap, "key_id": camera.key_id, "source": source, "connection": 1}
    return event(START_US + 2 + camera.key_id, event="tapped", **about)


def _talk() -> list[Packet]:
    packets: list[Packet] = []
    for key_id in NAMES:
        picture, sound = Camera(tap=key_id, key_id=key_id), Camera(tap=10 + key_id, key_id=key_id, first_ts=7)
        packets += [_tapped(picture, "camera"), _tapped(sound, "microphone")]
        packets += chain(video(picture, TALK_S), audio(sound, TALK_S))
    for what, at_s in (("paused", PAUSED_S), ("resumed", PAUSED_S + 1)):
        packets.append(event(START_US + at_s * 1_000_000, event="noted", what=what))
    return packets


def _long_voice() -> list[Packet]:
    first = Camera(tap=1)
    last = Camera(tap=2, first_seq=9, begin_us=START_US + (LONG_S - 2) * 1_000_000)
    return [_tapped(first, "microphone"), *audio(first, 2), _tapped(last, "microphone"), *audio(last, 2)]
