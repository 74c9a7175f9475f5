"""Turns one journal into files that play: read twice, never decoded, nothing in clear on disk.

The first pass learns who was taped by which stream and how their clocks run; the second puts packets in order, makes
frames of them and writes one file per participant and view (camera with microphone, screen with its sound). Runs in
the worker process (worker.py); blocks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from recorder import journal
from recorder.container import MediaWriter, VideoFormat, format_of
from recorder.depacketize import CodecFacts, Depacketizer, Frame, facts_of, parse_rtp
from recorder.errors import Damaged
from recorder.events import Event, Included, Noted, Started, Tapped, decode
from recorder.journal import Chunk, Journal
from recorder.storage import EncryptedFile, EncryptedWriter, Shelf, file_key
from recorder.timeline import REORDER_US, Line, Reorder, StreamClock, StreamTime, connection_line

SCREEN_SOURCES: Final = frozenset({"screen", "screen_audio"})


@dataclass
class TapStory:
    """One tap as the first pass saw it."""

    tap: int
    key_id: int
    codec: CodecFacts
    clock: StreamClock
    source: str = ""
    connection: int = -1
    format: VideoFormat | None = None
    """Of the first keyframe; None for audio, and for pictures that cannot be shown."""
    search: "FrameStream | None" = None
    """While the first keyframe has not come by."""
    last_us: int = 0

    @property
    def view(self) -> str:
        return "screen" if self.source in SCREEN_SOURCES else "camera"


@dataclass
class Survey:
    """What the first pass learned."""

    taps: dict[int, TapStory] = field(default_factory=dict)
    people: dict[int, Included] = field(default_factory=dict)
    started: Started | None = None
    start_us: int | None = None
    end_us: int = 0
    complete: bool = False
    dropped_bytes: int = 0
    damage: str | None = None
    skipped_packets: int = 0
    """Of codecs this version cannot keep."""
    marks: list[tuple[int, str]] = field(default_factory=list)
    """(arrival in µs, words) of what a viewer may want to jump to."""

    def mark(self, at_us: int, words: str) -> None:
        if not any(known == words for _, known in self.marks):
            self.marks.append((at_us, words))


def whole_chunks(source: Journal, survey: Survey) -> Iterator[Chunk]:
    """All chunks up to the first that is damaged: what stands before it authenticates and is kept."""
    try:
        yield from source.chunks()
    except Damaged as damaged:
        survey.damage = str(damaged)


def read_survey(source: Journal) -> Survey:
    survey = Survey()
    tapped: dict[int, Tapped] = {}
    for chunk in whole_chunks(source, survey):
        for kind, codec, tap, arrival_us, payload in chunk.records():
            if kind == journal.RTP:
                _saw_packet(survey, chunk.key_id, codec, tap, arrival_us, payload)
            elif kind == journal.SENDER_REPORT and tap in survey.taps:
                _, ntp_time, rtp_ts = journal.SENDER_REPORT_BODY.unpack(payload)
                survey.taps[tap].clock.saw_report(ntp_time, rtp_ts)
            elif kind == journal.EVENT and chunk.key_id == journal.EVENT_KEY:
                _saw_event(survey, tapped, decode(payload), arrival_us)
    for tap, story in survey.taps.items():
        known = tapped.get(tap)
        # The event may be missing if the process was killed right after the tap began.
        story.source = known.source if known else ("camera" if story.codec.kind == "video" else "microphone")
        story.connection = known.connection if known else -tap
        if story.search is not None:
            _look_for_keyframe(story, story.search.flush())
    survey.complete, survey.dropped_bytes = source.complete, source.dropped_bytes
    return survey


def _saw_packet(survey: Survey, key_id: int, codec: int, tap: int, arrival_us: int, packet: bytes) -> None:
    story = survey.taps.get(tap)
    if story is None:
        facts = facts_of(codec)
        if facts is None or len(packet) < 12:
            survey.skipped_packets += 1
            return
        story = survey.taps[tap] = TapStory(tap, key_id, facts, StreamClock(facts.clock_hz))
        story.search = FrameStream(facts) if facts.kind == "video" else None
    story.clock.saw_packet(int.from_bytes(packet[4:8], "big"), arrival_us)
    story.last_us = max(story.last_us, arrival_us)
    survey.end_us = max(survey.end_us, arrival_us)
    if survey.start_us is None:
        survey.start_us = arrival_us
    if story.search is not None:
        _look_for_keyframe(story, story.search.push(packet, arrival_us))


def _look_for_keyframe(story: TapStory, frames: Iterator[Frame]) -> None:
    for frame in frames:
        if frame.keyframe and (found := format_of(story.codec.name, frame.data)) is not None:
            story.format, story.search = found, None
            return


def _saw_event(survey: Survey, tapped: dict[int, Tapped], event: Event | None, arrival_us: int) -> None:
    match event:
        case Started():
            survey.started, survey.start_us = event, arrival_us
        case Included():
            survey.people[event.key_id] = event
        case Tapped():
            tapped[event.tap] = event
            name = survey.people[event.key_id].name if event.key_id in survey.people else ""
            sharing = event.source in SCREEN_SOURCES
            survey.mark(arrival_us, f"{name} shares a screen" if sharing else f"{name} is recorded")
        case Noted(what="excluded", participant=participant):
            name = next((one.name for one in survey.people.values() if one.participant == participant), "")
            survey.marks.append((arrival_us, f"{name} is no longer recorded"))
        case Noted(what="paused"):
            survey.marks.append((arrival_us, "Paused"))
        case Noted(what="resumed"):
            survey.marks.append((arrival_us, "Recording goes on"))
        case _:
            pass


class FrameStream:
    """From one tap's packets, as they arrived, to its frames in order."""

    def __init__(self, codec: CodecFacts) -> None:
        self.depacketizer: Depacketizer = codec.depacketizer()
        self._reorder = Reorder()
        self._gap = False

    def push(self, packet: bytes, arrival_us: int) -> Iterator[Frame]:
        return self._frames(self._reorder.push(packet, arrival_us))

    def flush(self) -> Iterator[Frame]:
        return self._frames(self._reorder.flush())

    def _frames(self, packets: Iterator[tuple[bool, bytes]]) -> Iterator[Frame]:
        for continues, packet in packets:
            self._gap = self._gap or not continues
            rtp = parse_rtp(packet)
            if rtp is None:
                continue
            continues, self._gap = not self._gap, False
            yield from self.depacketizer.push(rtp, continues=continues)


@dataclass
class TapOutput:
    """One tap in the second pass."""

    story: TapStory
    time: StreamTime
    file: "FileOutput"
    stream: FrameStream

    def take(self, packet: bytes, arrival_us: int) -> None:
        self._keep(self.stream.push(packet, arrival_us))

    def flush(self) -> None:
        self._keep(self.stream.flush())

    def _keep(self, frames: Iterator[Frame]) -> None:
        for frame in frames:
            at_us = self.time.arrival_us(frame.rtp_ts)
            self.file.add(self.story.codec.kind, at_us, frame.data, keyframe=frame.keyframe)


class FileOutput:
    """One file of one participant and view, sealed while it is written."""

    def __init__(self, shelf: Shelf, file_id: str, person: Included, key: bytes, taps: list[TapStory]) -> None:
        self.file_id = file_id
        self.person = person
        self.view = taps[0].view
        self.format = next((tap.format for tap in taps if tap.format), None)
        self.has_audio = any(tap.codec.kind == "audio" for tap in taps)
        self.start_us = 0.0
        self.late_frames = 0
        self._path = shelf.file_path(file_id)
        self._partial = self._path.with_suffix(".part")
        self._key, self._context = file_key(key, file_id), shelf.file_context(file_id)
        self._sink = EncryptedWriter(self._partial, self._key, self._context)
        self._writer = MediaWriter(self._sink, video=self.format, audio=self.has_audio)

    def add(self, kind: str, at_us: float, data: bytes, *, keyframe: bool) -> None:
        if kind == "video" and self.format is None:
            return
        at_ms = max(0, round((at_us - self.start_us) / 1000))
        self.late_frames += not self._writer.add(kind, at_ms, data, keyframe=keyframe)

    def close(self, recording_start_us: float, lost_frames: int) -> dict[str, Any]:
        self._writer.close()
        self._sink.close()
        stored = EncryptedFile(self._partial, self._key, self._context, self._sink.size)
        digest = stored.sha256()
        self._partial.replace(self._path)
        return {
            "file_id": self.file_id,
            "participant": self.person.participant,
            "display_name": self.person.name,
            "key_id": self.person.key_id,
            "view": self.view,
            "mime": f"video/{self.format.container}" if self.format else "audio/webm",
            "size": self._sink.size,
            "sha256": digest,
            "starts_ms": max(0, round((self.start_us - recording_start_us) / 1000)),
            "duration_ms": self._writer.end_ms,
            "width": self.format.width if self.format else None,
            "height": self.format.height if self.format else None,
            "video_frames": self._writer.frames["video"],
            "audio_frames": self._writer.frames["audio"],
            "lost_frames": lost_frames + self.late_frames,
        }


def finish(root: Path, recording_id: str, keys: Mapping[int, bytes]) -> dict[str, Any]:
    """Write the files of one recording and answer its manifest (which the caller seals). May be repeated."""
    shelf = Shelf(root, recording_id)
    source = Journal(shelf.journal_path, keys)
    survey = read_survey(source)
    start_us = float(survey.start_us or 0)
    outputs, files = _open_outputs(shelf, keys, survey)
    for chunk in whole_chunks(source, survey):
        newest_us = 0
        for kind, _, tap, arrival_us, payload in chunk.records():
            if kind == journal.RTP and (output := outputs.get(tap)) is not None:
                output.take(payload, arrival_us)
                newest_us = arrival_us
        for tap in [tap for tap, output in outputs.items() if output.story.last_us + REORDER_US < newest_us]:
            outputs[tap].flush()
    for output in outputs.values():
        output.flush()
    entries = []
    for file in files:
        lost = sum(output.stream.depacketizer.lost_frames for output in outputs.values() if output.file is file)
        entries.append(file.close(start_us, lost))
    return {
        "version": 1,
        "recording": recording_id,
        "started_at": survey.started.wall_time if survey.started else None,
        "duration_ms": max(0, round((survey.end_us - start_us) / 1000)),
        "complete": survey.complete,
        "dropped_bytes": survey.dropped_bytes,
        "damage": survey.damage,
        "skipped_packets": survey.skipped_packets,
        "chapters": [
            {"at_ms": max(0, round((at_us - start_us) / 1000)), "title": words} for at_us, words in survey.marks
        ],
        "files": entries,
    }


def _open_outputs(
    shelf: Shelf, keys: Mapping[int, bytes], survey: Survey
) -> tuple[dict[int, TapOutput], list[FileOutput]]:
    times = {tap: StreamTime(story.clock, line) for tap, story, line in _with_lines(survey)}
    outputs: dict[int, TapOutput] = {}
    files: list[FileOutput] = []
    for (key_id, file_id), taps in sorted(_by_file(survey).items()):
        person = survey.people.get(key_id, Included(key_id, f"unknown-{key_id}", ""))
        file = FileOutput(shelf, file_id, person, keys[key_id], taps)
        file.start_us = min(times[tap.tap].first_us for tap in taps)
        files.append(file)
        for tap in taps:
            outputs[tap.tap] = TapOutput(tap, times[tap.tap], file, FrameStream(tap.codec))
    return outputs, files


def _by_file(survey: Survey) -> dict[tuple[int, str], list[TapStory]]:
    """A person's taps of one view share a file; pictures in a second codec need one of their own."""
    groups: dict[tuple[int, str], list[TapStory]] = {}
    codecs: dict[tuple[int, str], str] = {}
    for story in survey.taps.values():
        file_id = f"{story.key_id}-{story.view}"
        if story.codec.kind == "video":
            if story.format is None:
                continue  # pictures without a single keyframe cannot be shown
            if codecs.setdefault((story.key_id, file_id), story.codec.name) != story.codec.name:
                file_id += f"-{story.codec.name}"
        groups.setdefault((story.key_id, file_id), []).append(story)
    return groups


def _with_lines(survey: Survey) -> Iterator[tuple[int, TapStory, Line | None]]:
    connections: dict[tuple[int, int], list[StreamClock]] = {}
    for story in survey.taps.values():
        connections.setdefault((story.key_id, story.connection), []).append(story.clock)
    lines = {connection: connection_line(clocks) for connection, clocks in connections.items()}
    for tap, story in survey.taps.items():
        yield tap, story, lines[story.key_id, story.connection]
