"""Sealed contents on disk: one folder per file, one sealed record per chunk, a sealed thumbnail beside them.

    <dir>/<file id>/chunks       chunk n at n × (chunk_bytes + 28): nonce, ciphertext, tag
                    thumbnail    sealed as a whole

A chunk is on disk before anybody counts it, so a cut-off upload goes on where it was. All methods block: call them
from a thread. Decides nothing and knows no people.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from control.sealing import OVERHEAD_BYTES, Sealer


class FileStore:
    def __init__(self, folder: Path, master_key: bytes) -> None:
        self._folder = folder
        self._master_key = master_key

    def write_chunk(self, file_id: str, index: int, chunk_bytes: int, plain: bytes) -> None:
        """Again at the same place if it is sent again."""
        path = self._folder / file_id
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sealed = self._sealer(file_id).seal_bytes(plain, f"chunk {index}")
        descriptor = os.open(path / "chunks", os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            file.seek(index * (chunk_bytes + OVERHEAD_BYTES))
            file.write(sealed)
            os.fsync(file.fileno())

    def read_chunk(self, file_id: str, index: int, chunk_bytes: int) -> bytes:
        """Raises Unsealable."""
        with (self._folder / file_id / "chunks").open("rb") as file:
            file.seek(index * (chunk_bytes + OVERHEAD_BYTES))
            sealed = file.read(chunk_bytes + OVERHEAD_BYTES)
        return self._sealer(file_id).unseal_bytes(sealed, f"chunk {index}")

    def read_all(self, file_id: str, chunks: int, chunk_bytes: int) -> bytes:
        return b"".join(self._read_each(file_id, chunks, chunk_bytes))

    def _read_each(self, file_id: str, chunks: int, chunk_bytes: int) -> Iterator[bytes]:
        for index in range(chunks):
            yield self.read_chunk(file_id, index, chunk_bytes)

    def write_thumbnail(self, file_id: str, plain: bytes) -> None:
        sealed = self._sealer(file_id).seal_bytes(plain, "thumbnail")
        (self._folder / file_id / "thumbnail").write_bytes(sealed)

    def read_thumbnail(self, file_id: str) -> bytes:
        return self._sealer(file_id).unseal_bytes((self._folder / file_id / "thumbnail").read_bytes(), "thumbnail")

    def delete(self, file_id: str) -> None:
        """Gone already: nothing happens."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._folder / file_id)

    def _sealer(self, file_id: str) -> Sealer:
        """A key of its own for every file."""
        return Sealer(self._master_key, f"session file {file_id}")
