"""Addresses under which e-mailed replies find their conversation: reply+<conversation>.<proof>@example.org.

The proof can't be made without the install's key, so nobody writes into a conversation by guessing. Pure.
"""

import hashlib
import hmac
import re

_PROOF_LENGTH = 20  # hexadecimal digits: 80 bits; guessing one takes longer than any server answers


class ReplyAddresses:
    def __init__(self, address: str, master_key: bytes) -> None:
        self._local, _, self._domain = address.rpartition("@")
        self._key = hmac.digest(master_key, b"holdspace reply address 1", hashlib.sha256)
        self._pattern = re.compile(
            rf"{re.escape(self._local)}\+([0-9a-f]{{32}})\.([0-9a-f]{{{_PROOF_LENGTH}}})@{re.escape(self._domain)}",
            re.IGNORECASE,
        )

    def address_of(self, conversation_id: str) -> str:
        return f"{self._local}+{conversation_id}.{self._proof(conversation_id)}@{self._domain}"

    def conversation_in(self, text_untrusted: str) -> str | None:
        """The conversation whose address stands in the text, if one of ours does."""
        for found in self._pattern.finditer(text_untrusted):
            conversation_id, proof = found.group(1).lower(), found.group(2).lower()
            if hmac.compare_digest(self._proof(conversation_id), proof):
                return conversation_id
        return None

    def _proof(self, conversation_id: str) -> str:
        return hmac.new(self._key, conversation_id.encode(), hashlib.sha256).hexdigest()[:_PROOF_LENGTH]
