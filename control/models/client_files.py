"""What a practitioner keeps on one client. The text is sealed; control/client_files.py holds the key."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from control.database import Base, WithId


class ClientNote(WithId, Base):
    __tablename__ = "client_notes"

    practitioner_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    client_id: Mapped[str] = mapped_column(ForeignKey("people.id"))
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]

    __table_args__ = (Index("ix_client_notes_whose", "practitioner_id", "client_id", "created_at"),)
