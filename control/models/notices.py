"""In-app notices: what a person's pages are told, numbered per person so that a page can ask for what it missed."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class NoticeRow(WithId, Base):
    __tablename__ = "notices"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    seq: Mapped[int]  # 1, 2, 3 … for this person, in the order of commits
    kind: Mapped[str] = mapped_column(String(40))
    title: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(String(500))
    path: Mapped[str | None] = mapped_column(String(300))  # where the notice leads, on this site
    facts: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    read_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("person_id", "seq"),)
