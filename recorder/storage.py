"""Where recordings lie on disk, and how nothing of them can be read without the operator's master key.

    <dir>/<recording id>/keys.json          every key of the recording, wrapped by the master key
                         recording.journal  while it runs, and until it is finished
                         manifest           sealed: the files, whom they show, their hashes
                         <file id>.media    sealed in chunks of 64 kB, so that any byte range can be read

Key 0 seals the journal's events and the manifest; each participant has a key of their own for their part of the
journal and for their files. Erasing `keys.json` erases the recording. Only files and cryptography; decides nothing.
"""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from recorder.errors import Damaged, UnknownRecording, WrongKey

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16

CHUNK_BYTES: Final = 64 << 10
"""Plain bytes of one chunk of a file. A seek reads and opens at least one; 28 bytes each are nonce and tag."""

STORED_CHUNK_BYTES: Final = NONCE_BYTES + CHUNK_BYTES + TAG_BYTES
COMPOSED: Final = "composed"
"""File id of everybody in one picture; while it is made, `composed-0000` and so on are pieces of it."""
ID_CHARACTERS: Final = frozenset("0123456789abcdefghijklmnopqrstuvwxyz-_")


def derive(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)


def seal(key: bytes, plain: bytes, context: bytes) -> bytes:
    """Nonce, ciphertext and tag; `context` must be the same to open it."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Raises cryptography's InvalidTag, which callers name by what it means for them."""
    return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)


class Shelf:
    """One recording's folder. All methods block on the disk: call them from a thread."""

    def __init__(self, root: Path, recording_id: str) -> None:
        if not recording_id or not set(recording_id) <= ID_CHARACTERS:
            raise UnknownRecording(recording_id)
        self.recording_id = recording_id
        self.path = root / recording_id
        self.journal_path = self.path / "recording.journal"
        self._keys_path = self.path / "keys.json"
        self._manifest_path = self.path / "manifest"

    def create(self) -> None:
        self.path.mkdir(mode=0o700, parents=True)
        _sync_directory(self.path.parent)

    def exists(self) -> bool:
        return self._keys_path.exists()

    def has_journal(self) -> bool:
        return self.journal_path.exists()

    def has_manifest(self) -> bool:
        return self._manifest_path.exists()

    def file_path(self, file_id: str) -> Path:
        if not file_id or not set(file_id) <= ID_CHARACTERS:
            raise UnknownRecording(file_id)
        return self.path / f"{file_id}.media"

    # keys

    def write_keys(self, keys: Mapping[int, bytes], master_key: bytes) -> None:
        wrapping = derive(master_key, "holdspace recording keys")
        wrapped = {
            str(key_id): base64.b64encode(seal(wrapping, key, self._context(f"key {key_id}"))).decode()
            for key_id, key in keys.items()
        }
        document = {"version": 1, "recording": self.recording_id, "keys": wrapped}
        write_whole(self._keys_path, json.dumps(document).encode())

    def replace_keys(self, keys: Mapping[int, bytes], master_key: bytes) -> None:
        """Like `write_keys`, and what stood there before is overwritten: keys that are left out are gone."""
        with self._keys_path.open("r+b") as before:
            size = self._keys_path.stat().st_size
            self.write_keys(keys, master_key)
            before.write(bytes(size))
            before.flush()
            os.fsync(before.fileno())

    def read_keys(self, master_key: bytes) -> dict[int, bytes]:
        try:
            document = json.loads(self._keys_path.read_bytes())
        except FileNotFoundError:
            raise UnknownRecording(self.recording_id) from None
        except ValueError as error:
            raise Damaged("keys.json cannot be read") from error
        wrapping = derive(master_key, "holdspace recording keys")
        try:
            return {
                int(key_id): unseal(wrapping, base64.b64decode(wrapped), self._context(f"key {key_id}"))
                for key_id, wrapped in document["keys"].items()
            }
        except InvalidTag:
            raise WrongKey("the master key does not open this recording") from None
        except (KeyError, ValueError, AttributeError, TypeError) as error:
            raise Damaged("keys.json cannot be read") from error

    # manifest

    def write_manifest(self, manifest: Mapping[str, Any], event_key: bytes) -> None:
        plain = json.dumps(manifest).encode()
        key = derive(event_key, "holdspace recording manifest")
        write_whole(self._manifest_path, seal(key, plain, self._context("manifest")))

    def read_manifest(self, event_key: bytes) -> dict[str, Any]:
        try:
            sealed = self._manifest_path.read_bytes()
        except FileNotFoundError:
            raise UnknownRecording(self.recording_id) from None
        key = derive(event_key, "holdspace recording manifest")
        try:
            manifest = json.loads(unseal(key, sealed, self._context("manifest")))
        except (InvalidTag, ValueError):
            raise Damaged("the manifest does not authenticate") from None
        if not isinstance(manifest, dict):
            raise Damaged("the manifest cannot be read")
        return manifest

    def file_context(self, file_id: str) -> bytes:
        return self._context(f"file {file_id}")

    # the end

    def drop_journal(self) -> None:
        self.journal_path.unlink(missing_ok=True)
        _sync_directory(self.path)

    def drop_pieces(self) -> None:
        """Of a composition that is joined, or that nobody wants any more."""
        for path in self.path.glob(f"{COMPOSED}-*"):
            path.unlink(missing_ok=True)

    def is_remainder(self) -> bool:
        """Without keys, and nothing in it that is not ours: what a half-made or half-erased recording leaves."""
        if self.exists():
            return False
        ours = {self._keys_path.name, self._manifest_path.name, self.journal_path.name}
        names = (entry.name.removesuffix(".part") for entry in self.path.iterdir())
        return all(name in ours or name.endswith(".media") for name in names)

    def erase(self) -> None:
        """Keys first: from then on nothing of the rest can be read, whatever happens before it is gone."""
        if self._keys_path.exists():
            with self._keys_path.open("r+b") as file:
                file.write(b"\x00" * self._keys_path.stat().st_size)
                file.flush()
                os.fsync(file.fileno())
            self._keys_path.unlink()
            _sync_directory(self.path)
        shutil.rmtree(self.path, ignore_errors=True)

    def _context(self, what: str) -> bytes:
        return f"holdspace recording {self.recording_id} {what}".encode()


def write_whole(path: Path, content: bytes) -> None:
    """Replaces a small file: after a crash it is the old one or the new one."""
    partial = path.with_name(path.name + ".part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_key(participant_key: bytes, file_id: str) -> bytes:
    return derive(participant_key, f"holdspace recording file {file_id}")


class EncryptedWriter:
    """A binary file for a muxer that seeks: chunks are sealed as they are left, the one at hand stays in memory.

    A chunk written again gets a fresh random nonce. Plain bytes never reach the disk. Holds at most one chunk.
    """

    def __init__(self, path: Path, key: bytes, context: bytes) -> None:
        self._cipher = AESGCM(key)
        self._context = context
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "w+b", buffering=0)
        self._chunk = 0
        self._plain = bytearray()
        self._changed = False
        self._at = 0
        self.size = 0

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            chunk, offset = divmod(self._at, CHUNK_BYTES)
            if chunk != self._chunk:
                self._turn_to(chunk)
            part = rest[: CHUNK_BYTES - offset]
            if offset > len(self._plain):
                self._plain.extend(bytes(offset - len(self._plain)))
            self._plain[offset : offset + len(part)] = part
            self._changed = True
            self._at += len(part)
            self.size = max(self.size, self._at)
            rest = rest[len(part) :]
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if self._file.closed:
            return
        self._store()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """What failed half-way is left as it is: nobody is given its name."""
        if kind is None:
            self.close()
        else:
            self._file.close()

    def _turn_to(self, chunk: int) -> None:
        self._store()
        self._chunk = chunk
        self._file.seek(chunk * STORED_CHUNK_BYTES)
        stored = self._file.read(STORED_CHUNK_BYTES)
        context = _chunk_context(self._context, chunk)
        plain = self._cipher.decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], context) if stored else b""
        self._plain = bytearray(plain)

    def _store(self) -> None:
        if not self._changed:
            return
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, bytes(self._plain), _chunk_context(self._context, self._chunk))
        self._file.seek(self._chunk * STORED_CHUNK_BYTES)
        self._file.write(nonce + sealed)
        self._changed = False


class EncryptedFile:
    """Reads any range of a finished file. `size` comes from the sealed manifest, so that a cut file is noticed."""

    def __init__(self, path: Path, key: bytes, context: bytes, size: int) -> None:
        self.size = size
        self._path = path
        self._cipher = AESGCM(key)
        self._context = context

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` plain bytes from `offset`; fewer only at the end. Blocks. Raises Damaged."""
        end = min(offset + length, self.size)
        if offset < 0 or offset >= end:
            return b""
        first, last = offset // CHUNK_BYTES, (end - 1) // CHUNK_BYTES
        with self._path.open("rb") as file:
            file.seek(first * STORED_CHUNK_BYTES)
            plain = b"".join(self._open(chunk, file.read(STORED_CHUNK_BYTES)) for chunk in range(first, last + 1))
        start = offset - first * CHUNK_BYTES
        wanted = plain[start : start + end - offset]
        if len(wanted) != end - offset:
            raise Damaged("the file is shorter than its manifest says")
        return wanted

    @staticmethod
    def plain_size(path: Path) -> int:
        """From the stored size alone: for files that no manifest names yet."""
        stored = path.stat().st_size
        return stored - -(-stored // STORED_CHUNK_BYTES) * (NONCE_BYTES + TAG_BYTES)

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for offset in range(0, self.size, 16 * CHUNK_BYTES):
            digest.update(self.read(offset, 16 * CHUNK_BYTES))
        return digest.hexdigest()

    def _open(self, chunk: int, stored: bytes) -> bytes:
        context = _chunk_context(self._context, chunk)
        try:
            return self._cipher.decrypt(stored[:NONCE_BYTES], stored[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise Damaged(f"chunk {chunk} does not authenticate") from None


class EncryptedReader:
    """A finished file as a binary file for a demuxer. Blocks."""

    def __init__(self, file: EncryptedFile) -> None:
        self._file = file
        self._at = 0

    def read(self, length: int = -1) -> bytes:
        part = self._file.read(self._at, self._file.size if length < 0 else length)
        self._at += len(part)
        return part

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at


def _chunk_context(context: bytes, chunk: int) -> bytes:
    return context + chunk.to_bytes(8, "big")
