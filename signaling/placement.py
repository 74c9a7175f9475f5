"""Which node has a room. One process for now; the Redis directory (room → node by SET NX) takes this place later.

The hub claims a room before it lets the first person in and releases it after the last one. It must never serve a
room that another node holds: two nodes would each show people half of it.
"""

from typing import Protocol

from media.types import RoomId


class Placement(Protocol):
    @property
    def node(self) -> str:
        """This node's own name."""

    async def claim(self, room: RoomId) -> str:
        """The node that has the room: the one that already did, else this one from now on."""

    async def release(self, room: RoomId) -> None: ...


class InProcess:
    """The only node there is: every room is here."""

    def __init__(self, node: str = "local") -> None:
        self._node = node

    @property
    def node(self) -> str:
        return self._node

    async def claim(self, room: RoomId) -> str:
        return self._node

    async def release(self, room: RoomId) -> None:
        return None
