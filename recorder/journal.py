"""Reads a sealed journal: the file that `media/native/journal` writes (layout: `media/native/journal/src/format.rs`).

A journal may end anywhere, because the process that wrote it may have been killed: a last chunk that is not whole is
dropped. A chunk in the middle that does not authenticate, or is missing, raises `Damaged`. Only reads; knows nothing
of codecs.

    preamble   magic (8) | file id (16) | header length (4) | header
    chunk      "HSCK" (4) | key id (4) | chunk number (8) | sealed length (4) | ciphertext and tag
    record     kind (1) | codec (1) | length (2) | tap (8) | arrival µs (8) | payload
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from recorder.errors import Damaged

RTP: Final = 1
SENDER_REPORT: Final = 2
EVENT: Final = 3
END: Final = 4

EVENT_KEY: Final = 0
"""Key id of the journal's own events; participants have 1 and up."""

CODECS: Final = ("", "vp8", "vp9", "h264", "av1", "opus", "red")

MAGIC: Final = b"HSJRNL\x00\x01"
CHUNK_MAGIC: Final = b"HSCK"
CHUNK_HEADER: Final = struct.Struct(">4sIQI")
RECORD_HEADER: Final = struct.Struct(">BBHQQ")
SENDER_REPORT_BODY: Final = struct.Struct(">IQI")
TAG_BYTES: Final = 16

MAX_CHUNK_BYTES: Final = 256 << 10
"""Chunks are at most 64 kB and one record; a longer claim is damage, not something to allocate for."""


@dataclass(frozen=True, slots=True)
class Chunk:
    key_id: int
    plain: bytes

    def records(self) -> Iterator[tuple[int, int, int, int, bytes]]:
        """(kind, codec number, tap, arrival in µs, payload) in the order they were appended."""
        plain, at, end = self.plain, 0, len(self.plain)
        unpack, header_len = RECORD_HEADER.unpack_from, RECORD_HEADER.size
        while at < end:
            if end - at < header_len:
                raise Damaged("journal record cut inside a whole chunk")
            kind, codec, length, tap, arrival_us = unpack(plain, at)
            at += header_len
            payload = plain[at : at + length]
            if len(payload) != length:
                raise Damaged("journal record cut inside a whole chunk")
            at += length
            yield kind, codec, tap, arrival_us, payload


class Journal:
    """One journal file; `chunks` may be called again and reads from the start each time.

    `keys` by key id, 32 bytes each. Chunks of a key that is not given (an erased participant) are passed over.
    After `chunks` ran to its end, `complete` says whether the journal was closed properly, `dropped_bytes` how much
    of a torn last chunk was left out.
    """

    def __init__(self, path: Path, keys: Mapping[int, bytes]) -> None:
        self.path = path
        self.complete = False
        self.dropped_bytes = 0
        with path.open("rb") as file:
            self.header, preamble = _read_preamble(file)
        self._start = len(preamble)
        self._hash = hashlib.sha256(preamble).digest()
        file_id = preamble[8:24]
        self._ciphers = {key_id: AESGCM(_chunk_key(key, file_id, key_id)) for key_id, key in keys.items()}

    def chunks(self) -> Iterator[Chunk]:
        self.complete, self.dropped_bytes = False, 0
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(self._start)
            number, at = 0, self._start
            while at < size:
                chunk, length = self._read_chunk(file, number, at, size)
                if length == 0:
                    self.dropped_bytes = size - at
                    return
                number, at = number + 1, at + length
                if chunk is not None:
                    self.complete = self.complete or _has_end(chunk)
                    yield chunk

    def _read_chunk(self, file: BinaryIO, number: int, at: int, size: int) -> tuple[Chunk | None, int]:
        """The chunk at the file's position and its length in the file; length 0 where the rest is torn."""
        header = file.read(CHUNK_HEADER.size)
        if len(header) < CHUNK_HEADER.size or not any(header):
            # Cut, or zeros a file system left where a power failure interrupted it.
            return None, 0
        magic, key_id, stated, length = CHUNK_HEADER.unpack(header)
        if magic != CHUNK_MAGIC or stated != number or not TAG_BYTES <= length <= MAX_CHUNK_BYTES:
            raise Damaged(f"journal framing is broken at byte {at}")
        sealed = file.read(length)
        if len(sealed) < length:
            return None, 0
        whole = CHUNK_HEADER.size + length
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            return None, whole
        nonce = number.to_bytes(12, "big")
        try:
            return Chunk(key_id, cipher.decrypt(nonce, sealed, self._hash + header)), whole
        except InvalidTag:
            if at + whole == size and not sealed.rstrip(b"\x00")[length - 64 :]:
                return None, 0  # the last chunk's pages were never written: its tail is zeros
            raise Damaged(f"journal chunk {number} does not authenticate") from None


def _read_preamble(file: BinaryIO) -> tuple[bytes, bytes]:
    fixed = file.read(28)
    if len(fixed) < 28 or fixed[:8] != MAGIC:
        raise Damaged("not a journal")
    header = file.read(int.from_bytes(fixed[24:28], "big"))
    if len(header) != int.from_bytes(fixed[24:28], "big"):
        raise Damaged("journal cut inside its header")
    return header, fixed + header


def _chunk_key(key: bytes, file_id: bytes, key_id: int) -> bytes:
    info = b"holdspace journal" + key_id.to_bytes(4, "big")
    return HKDF(algorithm=SHA256(), length=32, salt=file_id, info=info).derive(key)


def _has_end(chunk: Chunk) -> bool:
    return chunk.key_id == EVENT_KEY and any(record[0] == END for record in chunk.records())
