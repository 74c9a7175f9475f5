"""What happened in a conversation, told after the commit to the open pages of its people (notices/live.py)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MessageStored:
    """A conversation has a new message, or, without an author, somebody has read on."""

    conversation_id: str
    people: tuple[str, ...]
    author_id: str | None
    seq: int
