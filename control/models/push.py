"""Devices that show notices: what a browser answered when its person switched web push on."""

from datetime import datetime

from sqlalchemy import ForeignKey, Select, String, select
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId
from control.models.people import WebSession


class PushSubscription(WithId, Base):
    """One per signed-in browser: signing out ends it. The keys are base64url, as the browser gave them."""

    __tablename__ = "push_subscriptions"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("web_sessions.id", ondelete="CASCADE"), unique=True)
    endpoint: Mapped[str] = mapped_column(String(1000))
    p256dh: Mapped[str] = mapped_column(String(100))
    auth: Mapped[str] = mapped_column(String(30))
    created_at: Mapped[datetime]


def live(now: datetime) -> Select[PushSubscription]:
    """Those of browsers that are still signed in."""
    return (
        select(PushSubscription)
        .join(WebSession, WebSession.id == PushSubscription.session_id)
        .where(WebSession.revoked_at.is_(None), WebSession.expires_at > now)
    )
