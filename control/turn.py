"""Time-limited credentials for the operator's TURN server, as coturn's `use-auth-secret` checks them.

The user name is "<Unix time of expiry>:<person>", the password the base64 of HMAC-SHA1 over it under the shared secret
(draft-uberti-behave-turn-rest-00). Nothing is stored and nobody is asked; the relay learns no name.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from control.config import TurnSettings


def ice_servers(settings: TurnSettings, person_id: str, now: datetime) -> Sequence[Mapping[str, Any]]:
    """RTCIceServer dictionaries for one person; none without a configured relay."""
    if settings.secret is None:
        return ()
    username = f"{int((now + settings.lifetime).timestamp())}:{person_id}"
    # SHA-1 is the relay's choice, not ours; as an HMAC it is still sound.
    mac = hmac.digest(settings.secret.get_secret_value().encode(), username.encode(), hashlib.sha1)
    return ({"urls": list(settings.urls), "username": username, "credential": base64.b64encode(mac).decode()},)
