"""A disk that runs full under a recording of two people who talk over the real core: a tmpfs of a few pages."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from media.config import MediaSettings
from media.node import MediaNode
from media.types import RoomId
from recorder.recorder import Recorder
from tests.media.people import Person, gather_loopback_only

ROOM = RoomId("session_1")
SMALL, LARGE = "size=32k", "size=64m"


def mount(*how: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["mount", "-t", "tmpfs", "-o", *how], capture_output=True, check=False)  # noqa: S603, S607


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if (mounted := mount(SMALL, "tmpfs", str(folder))).returncode:
        pytest.skip(f"this machine mounts no tmpfs: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S603, S607


@pytest_asyncio.fixture
async def talking(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[MediaNode, Person, Person]]:
    gather_loopback_only(monkeypatch)
    node = MediaNode(MediaSettings(threads=1, bind=("127.0.0.1",), udp_port=0, development=True))
    await node.start()
    people = [Person(node, ROOM, name, chroma=60, pitch_hz=440) for name in ("amara", "mina")]
    for person in people:
        await person.join()
    for person in people:
        await person.connected.wait()
    yield node, *people
    for person in people:
        await person.close()
    await node.close()


@pytest.mark.timeout(180)
async def test_a_full_disk_ends_the_recording_and_not_the_session_and_keeps_what_there_is(
    talking: tuple[MediaNode, Person, Person], disk: Path
) -> None:
    node, *people = talking
    recorder = Recorder(node, disk, b"m" * 32)
    failures: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    recorder.add_failure_listener(lambda *why: failures.put_nowait(why))
    await recorder.start("r", ROOM)
    for person in people:
        await recorder.include("r", person.name, person.name, f"consent of {person.name}")
    assert await failures.get() == ("r", "disk_full")
    assert not recorder.is_live("r")

    for person in people:
        for arriving in (person.sounds, person.frames):
            for _ in range(arriving.qsize() + 20):
                await arriving.get()

    assert mount(f"remount,{LARGE}", "tmpfs", str(disk)).returncode == 0
    assert await recorder.recover() == ["r"]
    kept = await recorder.describe("r")
    assert {one.participant for one in kept.files} == {"amara", "mina"}
    assert all(one.audio_frames > 10 for one in kept.files)
    await recorder.close()
