"""Seals private texts, so that a stolen database tells nothing: AES-256-GCM under keys of the install's master key.

Each purpose ("messages") has a key of its own. The context names the row, so that a sealed text moved into another
row does not open. Losing the master key loses the texts.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12  # AES-GCM's; random, so at most 2³² texts under one key (NIST SP 800-38D, 8.3)


class Unsealable(Exception):
    """The text was changed, belongs to another row, or was sealed under another master key."""


class Sealer:
    def __init__(self, master_key: bytes, purpose: str) -> None:
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=f"holdspace {purpose} 1".encode())
        self._cipher = AESGCM(derived.derive(master_key))

    def seal(self, text: str, context: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), context.encode())

    def unseal(self, sealed: bytes, context: str) -> str:
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise Unsealable from error
