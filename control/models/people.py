"""People and how they prove who they are: roles, passwords, one-time links, sessions of browsers and apps.

Secrets are here only as hashes: Argon2id for passwords, SHA-256 for links and cookies (those are 256 random bits).
Second factors and codes are in models/factors.py. control/accounts.py and the files beside it are the only writers.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from control.database import Base, WithId


class Role(StrEnum):
    """What a person is in this practice; one may be several. Guests of one appointment have none."""

    CLIENT = "client"
    PRACTITIONER = "practitioner"
    SUPPORT = "support"
    ADMIN = "admin"


class LinkPurpose(StrEnum):
    SIGN_IN = "sign_in"
    SIGN_UP = "sign_up"


class Person(WithId, Base):
    __tablename__ = "people"

    email: Mapped[str] = mapped_column(String(254), unique=True)  # as accounts.normalised_email writes it
    name: Mapped[str] = mapped_column(String(120))
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC")  # IANA
    email_proven_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    last_notice_seq: Mapped[int] = mapped_column(default=0)  # raised by control/notices/outbox.py under the row's lock
    is_demo: Mapped[bool] = mapped_column(default=False)
    language: Mapped[str] = mapped_column(String(12), default="en-GB")  # BCP 47; all texts are English yet
    country: Mapped[str | None] = mapped_column(String(2))  # ISO 3166-1, for help numbers
    phone: Mapped[str | None] = mapped_column(String(16))  # E.164; nothing is sent to it before phone_proven_at
    phone_proven_at: Mapped[datetime | None]
    wants_sms: Mapped[bool] = mapped_column(default=True)
    wants_testimonial_reminders: Mapped[bool] = mapped_column(default=True)
    second_factor_at: Mapped[datetime | None]  # when the first factor was confirmed; none: there is none

    roles: Mapped[list["PersonRole"]] = relationship(lazy="selectin", cascade="all, delete-orphan")

    @property
    def role_names(self) -> frozenset[Role]:
        return frozenset(Role(row.role) for row in self.roles)


class PersonRole(Base):
    __tablename__ = "person_roles"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(String(16), primary_key=True)

    __table_args__ = (CheckConstraint("role IN ('client', 'practitioner', 'support', 'admin')", name="known_role"),)


class Credential(WithId, Base):
    __tablename__ = "credentials"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))  # "password"
    secret_hash: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("person_id", "kind"),)


class OneTimeLink(WithId, Base):
    __tablename__ = "one_time_links"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    return_path: Mapped[str | None] = mapped_column(String(400))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SessionKind(StrEnum):
    BROWSER = "browser"  # by cookie
    APP = "app"  # by bearer token, until it is revoked


class WebSession(WithId, Base):
    __tablename__ = "web_sessions"

    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    device: Mapped[str] = mapped_column(String(200), default="")  # the User-Agent, shortened, for the list of devices
    kind: Mapped[str] = mapped_column(String(8), default=SessionKind.BROWSER)
    second_factor_at: Mapped[datetime | None]  # none: not given yet, or not needed
    factor_tries: Mapped[int] = mapped_column(default=0)  # wrong codes in this session
    challenge: Mapped[str | None] = mapped_column(String(100))  # of the passkey ceremony under way, base64url
    challenge_until: Mapped[datetime | None]
