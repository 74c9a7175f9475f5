"""Journals as they come: whole, cut anywhere, changed, written by the Rust crate."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import journal
from recorder.errors import Damaged
from recorder.journal import Journal
from tests.recorder.studio import START_US, Packet, key, write_journal

SAMPLE = Path(__file__).parent.parent / "data" / "journal_v1.journal"
KEYS = {0: key(0), 1: key(1), 2: key(2)}


def packets(count: int) -> list[Packet]:
    return [Packet(1, 1, 7, START_US + i * 50_000, bytes([i % 256]) * 200, 1 + i % 2) for i in range(count)]


def payloads(source: Journal) -> list[bytes]:
    return [record[4] for chunk in source.chunks() for record in chunk.records() if record[0] == journal.RTP]


def test_the_file_of_the_rust_writer_is_read() -> None:
    source = Journal(SAMPLE, KEYS)
    records = {(chunk.key_id, record) for chunk in source.chunks() for record in chunk.records()}
    assert source.header == b'{"recording": "sample"}'
    report = journal.SENDER_REPORT_BODY.pack(3, 0x0102030405060708, 9)
    assert records == {
        (0, (journal.EVENT, 0, 0, 10, b'{"event": "started"}')),
        (1, (journal.RTP, 1, 7, 11, bytes.fromhex("80e000010000000200000003") + b"\x10\x00")),
        (2, (journal.SENDER_REPORT, 0, 8, 12, report)),
        (0, (journal.END, 0, 0, 0, b"")),
    }
    assert source.complete
    assert source.dropped_bytes == 0


def test_a_journal_cut_anywhere_gives_every_whole_chunk_before_the_cut(tmp_path: Path) -> None:
    whole = write_journal(tmp_path / "whole", packets(60))
    content = whole.read_bytes()
    everything = payloads(Journal(whole, KEYS))
    assert len(everything) == 60
    cut_file = tmp_path / "cut"
    before = 0
    for cut in range(60, len(content), 97):
        cut_file.write_bytes(content[:cut])
        source = Journal(cut_file, KEYS)
        found = payloads(source)
        assert found == everything[: len(found)] or sorted(found) == sorted(everything[: len(found)])
        assert len(found) >= before
        assert not source.complete
        before = len(found)
    assert before >= 50


def test_zeros_that_a_power_failure_left_at_the_end_are_dropped(tmp_path: Path) -> None:
    path = write_journal(tmp_path / "j", packets(20), closed=False)
    with path.open("ab") as file:
        file.write(bytes(5000))
    source = Journal(path, KEYS)
    assert len(payloads(source)) == 20
    assert source.dropped_bytes == 5000


@pytest.mark.parametrize("where", [0.2, 0.4, 0.6])
def test_a_changed_byte_in_the_middle_is_damage(tmp_path: Path, where: float) -> None:
    path = write_journal(tmp_path / "j", packets(60))
    content = bytearray(path.read_bytes())
    content[int(len(content) * where)] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged):
        payloads(Journal(path, KEYS))


def test_a_chunk_taken_out_is_damage(tmp_path: Path) -> None:
    path = write_journal(tmp_path / "j", packets(60))
    content = path.read_bytes()
    first = content.index(journal.CHUNK_MAGIC)
    second = content.index(journal.CHUNK_MAGIC, first + 4)
    path.write_bytes(content[:first] + content[second:])
    with pytest.raises(Damaged):
        payloads(Journal(path, KEYS))


def test_a_changed_header_is_damage(tmp_path: Path) -> None:
    path = write_journal(tmp_path / "j", packets(10))
    path.write_bytes(path.read_bytes().replace(b'{"recording": "r"}', b'{"recording": "s"}'))
    with pytest.raises(Damaged):
        payloads(Journal(path, KEYS))


def test_a_wrong_key_opens_nothing(tmp_path: Path) -> None:
    path = write_journal(tmp_path / "j", packets(10))
    with pytest.raises(Damaged):
        payloads(Journal(path, {**KEYS, 1: key(9)}))


def test_records_of_an_erased_participant_are_passed_over(tmp_path: Path) -> None:
    path = write_journal(tmp_path / "j", packets(10))
    source = Journal(path, {0: key(0), 2: key(2)})
    assert len(payloads(source)) == 5
    assert source.complete


@given(st.binary(max_size=400))
def test_any_bytes_are_a_journal_or_damage(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.journal"
    path.write_bytes(content)
    with pytest.raises(Damaged):
        payloads(Journal(path, KEYS))


@given(st.binary(max_size=200))
def test_any_bytes_after_the_preamble_are_records_a_tear_or_damage(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "after.journal"
    whole = SAMPLE.read_bytes()
    path.write_bytes(whole[: whole.index(journal.CHUNK_MAGIC)] + content)
    with contextlib.suppress(Damaged):
        assert payloads(Journal(path, KEYS)) == []
