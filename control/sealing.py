"""Seals private texts and files, so that stolen storage tells nothing: AES-256-GCM under keys of the master key.

Each purpose ("messages") has a key of its own. The context names the row, so that a sealed text moved into another
row does not open. Losing the master key loses the texts.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from control.errors import Problem
from control.language import N_

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12  # AES-GCM's; random, so at most 2³² texts under one key (NIST SP 800-38D, 8.3)
TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = NONCE_BYTES + TAG_BYTES


class Unsealable(Problem):
    """The text was changed, belongs to another row, or was sealed under another master key."""

    def __init__(self) -> None:
        super().__init__("unreadable", N_("This is stored, but the key of this server does not open it."))


class Sealer:
    def __init__(self, master_key: bytes, purpose: str) -> None:
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"holdspace {purpose} 1".encode())
        self._cipher = AESGCM(derived.derive(master_key))

    def seal(self, text: str, context: str) -> bytes:
        return self.seal_bytes(text.encode(), context)

    def unseal(self, sealed: bytes, context: str) -> str:
        """Raises Unsealable."""
        return self.unseal_bytes(sealed, context).decode()

    def seal_bytes(self, plain: bytes, context: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, context.encode())

    def unseal_bytes(self, sealed: bytes, context: str) -> bytes:
        """Raises Unsealable."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError) as error:
            raise Unsealable from error
