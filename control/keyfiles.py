"""The keys an install makes for itself on its first start, each in a file of the data folder that only we read.

    session.key      signs CSRF, join and resume tokens. Lost: everybody signs in again, nothing else.
    master.key       unlocks every recording and every private text. Lost: none can ever be read again, so back it up.
    push.key         signs web push, where it is enabled. Lost: people switch it on again.
    recordings.key   only after `holdspace recordings rotate-key`: unlocks recordings instead of the master key.

A key given in the settings is used instead and never written. Nothing here is ever logged.
"""

import base64
import binascii
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from control.config import Settings
from control.config_reading import SettingsError

KEY_BYTES = 32
RECORDINGS = "recordings.key"


@dataclass(frozen=True)
class InstallKeys:
    session_secret: bytes = field(repr=False)
    master_key: bytes = field(repr=False)
    recording_key: bytes = field(repr=False)


def load(settings: Settings, *, rotating: bool = False) -> InstallKeys:
    """Read the keys, making those that are missing. SettingsError if one can't be read or has a wrong length, and
    after a rotation that was cut off, unless `rotating`.
    """
    data_dir = settings.server.data_dir
    if not rotating and _next(settings).exists():
        raise SettingsError([f"{_next(settings)} is there: run `holdspace recordings rotate-key` again"])
    data_dir.mkdir(parents=True, exist_ok=True)
    given = settings.security.session_secret
    if given is not None and len(given.get_secret_value()) < KEY_BYTES:
        raise SettingsError([f"security.session_secret = …: wanted at least {KEY_BYTES} characters"])
    session_secret = given.get_secret_value().encode() if given else _from_file(data_dir / "session.key")
    master = settings.recording.master_key
    master_key = (
        _decoded(master.get_secret_value(), "recording.master_key") if master else _from_file(data_dir / "master.key")
    )
    own = data_dir / RECORDINGS
    return InstallKeys(session_secret, master_key, _from_file(own) if own.exists() else master_key)


def push_key(settings: Settings) -> bytes:
    """Made on the first start with push enabled."""
    given = settings.push.private_key
    if given is not None:
        return _decoded(given.get_secret_value(), "push.private_key")
    settings.server.data_dir.mkdir(parents=True, exist_ok=True)
    return _from_file(settings.server.data_dir / "push.key")


def next_recording_key(settings: Settings) -> bytes:
    """The key that a rotation leads to; the same again after a crash."""
    return _from_file(_next(settings))


def take_next_recording_key(settings: Settings) -> Path:
    """The end of a rotation."""
    own = settings.server.data_dir / RECORDINGS
    _next(settings).replace(own)
    return own


def _next(settings: Settings) -> Path:
    return settings.server.data_dir / f"{RECORDINGS}.next"


def _from_file(path: Path) -> bytes:
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return _made(path)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"key file {path}: can't be read ({error})"]) from None
    return _decoded(text, f"key file {path}")


def _made(path: Path) -> bytes:
    """Written whole under another name first: a crash leaves no half a key, a second process makes no second one."""
    key = secrets.token_bytes(KEY_BYTES)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(base64.b64encode(key).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return _from_file(path)
    finally:
        draft.unlink()
    return key


def _decoded(text: str, what: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError([f"{what} = …: wanted {KEY_BYTES} bytes in base64 (openssl rand -base64 32)"])
    return key
