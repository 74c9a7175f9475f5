"""Everything that media, and the native core under it, raises on purpose.

The tree (each class has one stable `code`, which logs, metrics and the layers above may rely on):

    MediaError            media_error
    ├── UnknownId         unknown_id      a room, transport, track, slot, tap or grant that is not there
    ├── DuplicateId       duplicate_id    an id that is there already with other arguments
    ├── Refused           refused         a rule of the core forbids it: no grant, foreign room, bound reached
    ├── CoreFailed        core_failed     ours: a caught panic, a lost runtime thread, a socket that failed
    └── BadOffer          bad_offer       the peer's: a session description that cannot be answered

The first four are raised by `media._forwarder`, which looks these classes up by name (native/src/errors.rs);
`BadOffer` is raised by `media.negotiation`. This file imports nothing, so that the core may load it first.
"""

from typing import ClassVar


class MediaError(Exception):
    """Root of the tree; raised itself by nobody."""

    code: ClassVar[str] = "media_error"


class UnknownId(MediaError):
    code = "unknown_id"


class DuplicateId(MediaError):
    code = "duplicate_id"


class Refused(MediaError):
    code = "refused"


class CoreFailed(MediaError):
    code = "core_failed"


class BadOffer(MediaError):
    code = "bad_offer"
