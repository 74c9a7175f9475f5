"""Sealing what is private before it is stored: chat, files, reports. One key per purpose, from the master key.

AES-256-GCM under a key that HKDF derives; the context (which row, of whom) is authenticated, so that no sealed text
can be moved to another row. Without the master key nothing sealed here can be read again.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from control.errors import Problem

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = NONCE_BYTES + TAG_BYTES


class Sealer:
    """Nonces are random: one key may seal 2³² texts, far more than an install will write."""

    def __init__(self, master_key: bytes, purpose: str) -> None:
        info = f"holdspace {purpose}".encode()
        self._cipher = AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(master_key))

    def seal(self, plain: bytes, context: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, context.encode())

    def unseal(self, sealed: bytes, context: str) -> bytes:
        """Raises Problem("unreadable"): sealed by another key, for another row, or damaged."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError):
            raise Problem("unreadable", "This is stored, but the key of this server does not open it.") from None
