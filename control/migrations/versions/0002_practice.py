"""The practice: profiles, services, windows, appointments, consents, money, ratings.

What must hold whatever the code does is here, in the database: no overlapping time of one practitioner, one
session in progress, one live payment per appointment, and a ledger and consents that are only ever added to.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SLOT_HOLDING = "('pending', 'scheduled', 'confirmed', 'in_progress')"
APPEND_ONLY = ("ledger_transactions", "ledger_entries", "consents")


def upgrade() -> None:
    _practice()
    _appointments()
    _around_appointments()
    _consents()
    _money()
    _ratings_and_answers()
    if op.get_bind().dialect.name == "postgresql":
        _guards_on_postgresql()
    else:
        _guards_on_sqlite()


def downgrade() -> None:
    raise NotImplementedError("going back would drop appointments and money: restore a backup instead")


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(32), primary_key=True)


def _person(name: str, *, nullable: bool = False, cascade: bool = False) -> sa.Column[str]:
    reference = sa.ForeignKey("people.id", ondelete="CASCADE" if cascade else None)
    return sa.Column(name, sa.String(32), reference, nullable=nullable)


def _reference(name: str, target: str, *, nullable: bool = False, cascade: bool = False) -> sa.Column[str]:
    reference = sa.ForeignKey(target, ondelete="CASCADE" if cascade else None)
    return sa.Column(name, sa.String(64 if name == "account_code" else 32), reference, nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, length: int | None = None, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text() if length is None else sa.String(length), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _amount(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _flag(name: str, *, nullable: bool = False) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=nullable)


def _list(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _check(condition: str, name: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(name))


def _practice() -> None:
    op.create_table(
        "practitioner_profiles",
        sa.Column("person_id", sa.String(32), sa.ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
        _text("headline", 160),
        _text("about"),
        _list("modalities"),
        _list("languages"),
        _text("aftercare"),
        _flag("published"),
        _number("late_window_minutes"),
        _number("late_fee_bp"),
        _number("no_show_fee_bp"),
        _moment("created_at"),
        _check("late_fee_bp BETWEEN 0 AND 10000", "ck_practitioner_profiles_late_fee"),
        _check("no_show_fee_bp BETWEEN 0 AND 10000", "ck_practitioner_profiles_no_show_fee"),
        _check("late_window_minutes >= 0", "ck_practitioner_profiles_late_window"),
    )
    op.create_table(
        "services",
        _id(),
        _reference("practitioner_id", "practitioner_profiles.person_id", cascade=True),
        _text("name", 120),
        _text("description"),
        _text("mode", 8),
        _number("length_minutes"),
        _number("price_minor"),
        _text("currency", 3),
        _number("buffer_before_minutes"),
        _number("buffer_after_minutes"),
        _number("minimum_notice_minutes"),
        _number("booking_window_days"),
        _flag("recording_offered"),
        _flag("is_discovery"),
        _flag("active"),
        _moment("created_at"),
        _check("mode IN ('video', 'audio', 'chat')", "ck_services_known_mode"),
        _check("length_minutes BETWEEN 5 AND 480", "ck_services_length"),
        _check("price_minor >= 0", "ck_services_price"),
        _check("buffer_before_minutes >= 0 AND buffer_after_minutes >= 0", "ck_services_buffers"),
    )
    op.create_index("ix_services_practitioner_id", "services", ["practitioner_id"])
    op.create_table(
        "availability_windows",
        _id(),
        _reference("practitioner_id", "practitioner_profiles.person_id", cascade=True),
        _reference("service_id", "services.id", nullable=True, cascade=True),
        _text("local_date", 10),
        _text("local_start", 5),
        _text("local_end", 5),
        _text("time_zone", 64),
        _moment("starts_at"),
        _moment("ends_at"),
        _number("price_minor", nullable=True),
        _moment("created_at"),
        _check("starts_at < ends_at", "ck_availability_windows_not_empty"),
    )
    op.create_index("ix_availability_windows_when", "availability_windows", ["practitioner_id", "starts_at"])


def _appointments() -> None:
    op.create_table(
        "appointments",
        _id(),
        _person("practitioner_id"),
        _person("client_id"),
        _reference("service_id", "services.id"),
        _text("state", 24),
        _number("version"),
        _moment("starts_at"),
        _moment("ends_at"),
        _moment("busy_from"),
        _moment("busy_until"),
        _text("client_time_zone", 64),
        _text("service_name", 120),
        _text("mode", 8),
        _flag("recording_offered"),
        _number("price_minor"),
        _text("currency", 3),
        _number("platform_fee_bp"),
        _number("late_window_minutes"),
        _number("late_fee_bp"),
        _number("no_show_fee_bp"),
        _number("opens_before_s"),
        _number("no_show_after_s"),
        _number("present_for_s"),
        _number("grace_s"),
        _moment("due_at", nullable=True),
        _moment("hold_expires_at", nullable=True),
        _text("booking_key", 200, nullable=True),
        _moment("created_at"),
        _moment("scheduled_at", nullable=True),
        _moment("confirmed_at", nullable=True),
        _moment("started_at", nullable=True),
        _moment("ended_at", nullable=True),
        _text("ended_by", 16, nullable=True),
        _text("end_reason", nullable=True),
        _number("kept_minor", nullable=True),
        _number("refund_minor", nullable=True),
        _moment("client_waiting_told_at", nullable=True),
        _moment("client_admitted_at", nullable=True),
        _moment("practitioner_admitted_at", nullable=True),
        _number("calendar_sequence"),
        _check(
            "state IN ('pending', 'scheduled', 'confirmed', 'in_progress', 'completed', 'expired', 'cancelled',"
            " 'no_show_client', 'no_show_practitioner')",
            "ck_appointments_known_state",
        ),
        _check("busy_from <= starts_at AND starts_at < ends_at AND ends_at <= busy_until", "ck_appointments_span"),
        _check("price_minor >= 0", "ck_appointments_price"),
        _check("practitioner_id <> client_id", "ck_appointments_two_people"),
        sa.UniqueConstraint("client_id", "booking_key", name="uq_appointments_client_id_booking_key"),
    )
    op.create_index("ix_appointments_practitioner_start", "appointments", ["practitioner_id", "starts_at"])
    op.create_index("ix_appointments_client_start", "appointments", ["client_id", "starts_at"])
    op.create_index("ix_appointments_due", "appointments", ["due_at"])
    _unique_where("uq_appointments_one_in_progress", "appointments", "practitioner_id", "state = 'in_progress'")


def _unique_where(name: str, table: str, column: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, [column], unique=True, sqlite_where=where, postgresql_where=where)


def _around_appointments() -> None:
    op.create_table(
        "presence",
        _id(),
        _reference("appointment_id", "appointments.id", cascade=True),
        _person("person_id"),
        _text("role", 16),
        _moment("connected_at"),
        _moment("admitted_at", nullable=True),
        _moment("disconnected_at", nullable=True),
        _text("reason", 24, nullable=True),
    )
    op.create_index("ix_presence_appointment_person", "presence", ["appointment_id", "person_id"])
    op.create_table(
        "join_tokens",
        sa.Column("jti", sa.String(64), primary_key=True),
        _reference("appointment_id", "appointments.id", cascade=True),
        _person("person_id"),
        _text("role", 16),
        _moment("created_at"),
        _moment("expires_at"),
        _moment("used_at", nullable=True),
    )
    op.create_index("ix_join_tokens_expires_at", "join_tokens", ["expires_at"])
    op.create_table(
        "leases",
        sa.Column("name", sa.String(40), primary_key=True),
        _text("holder", 64),
        _moment("renewed_at"),
        _moment("expires_at"),
    )


def _consents() -> None:
    op.create_table(
        "consent_texts",
        _id(),
        _text("purpose", 16),
        _text("owner", 32),
        _number("version"),
        _text("title", 160),
        _text("body"),
        _text("video_url", 400, nullable=True),
        _moment("created_at"),
        sa.UniqueConstraint("purpose", "owner", "version", name="uq_consent_texts_purpose_owner_version"),
        _check("purpose IN ('care', 'recording')", "ck_consent_texts_known_purpose"),
    )
    op.create_table(
        "consents",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        _person("person_id"),
        _text("purpose", 16),
        _reference("text_id", "consent_texts.id"),
        _reference("appointment_id", "appointments.id"),
        _text("answer", 16),
        _moment("answered_at"),
        _check("answer IN ('yes', 'no', 'withdrawn')", "ck_consents_known_answer"),
    )
    op.create_index("ix_consents_person_text", "consents", ["person_id", "text_id"])
    op.create_index("ix_consents_appointment", "consents", ["appointment_id", "purpose"])


def _money() -> None:
    op.create_table(
        "ledger_accounts",
        sa.Column("code", sa.String(64), primary_key=True),
        _text("kind", 16),
        _person("owner_id", nullable=True),
        _text("currency", 3),
        _amount("balance_minor"),
        _check("kind <> 'wallet' OR balance_minor >= 0", "ck_ledger_accounts_wallet_not_overdrawn"),
    )
    op.create_index("ix_ledger_accounts_owner_id", "ledger_accounts", ["owner_id"])
    op.create_table(
        "ledger_transactions",
        _id(),
        sa.Column("key", sa.String(80), nullable=False, unique=True),
        _reference("appointment_id", "appointments.id", nullable=True),
        _moment("created_at"),
    )
    op.create_index("ix_ledger_transactions_appointment_id", "ledger_transactions", ["appointment_id"])
    op.create_table(
        "ledger_entries",
        _id(),
        _reference("transaction_id", "ledger_transactions.id"),
        _reference("account_code", "ledger_accounts.code"),
        _amount("amount_minor"),
        _text("currency", 3),
        _check("amount_minor <> 0", "ck_ledger_entries_not_zero"),
    )
    op.create_index("ix_ledger_entries_transaction_id", "ledger_entries", ["transaction_id"])
    op.create_index("ix_ledger_entries_account_code", "ledger_entries", ["account_code"])
    op.create_table(
        "payments",
        _id(),
        _reference("appointment_id", "appointments.id"),
        _person("payer_id"),
        _text("method", 16),
        _text("state", 16),
        _amount("amount_minor"),
        _text("currency", 3),
        _amount("kept_minor", nullable=True),
        _amount("refunded_minor", nullable=True),
        _text("failure_code", 40, nullable=True),
        _moment("created_at"),
        _moment("changed_at"),
        _check("method IN ('wallet', 'free')", "ck_payments_known_method"),
        _check("state IN ('held', 'earned', 'released', 'failed')", "ck_payments_known_state"),
    )
    op.create_index("ix_payments_appointment_id", "payments", ["appointment_id"])
    op.create_index("ix_payments_payer_id", "payments", ["payer_id"])
    _unique_where("uq_payments_one_held", "payments", "appointment_id", "state IN ('held', 'earned', 'released')")


def _ratings_and_answers() -> None:
    op.create_table(
        "ratings",
        _id(),
        _reference("appointment_id", "appointments.id"),
        _person("author_id"),
        _person("subject_id"),
        _text("author_role", 16),
        _number("stars"),
        _text("feedback"),
        _flag("is_public"),
        _moment("publication_confirmed_at", nullable=True),
        _flag("would_recommend", nullable=True),
        _list("tags"),
        _moment("created_at"),
        sa.UniqueConstraint("appointment_id", "author_id", name="uq_ratings_appointment_id_author_id"),
        _check("stars BETWEEN 1 AND 5", "ck_ratings_stars"),
    )
    op.create_index("ix_ratings_subject", "ratings", ["subject_id", "is_public"])
    op.create_table(
        "kept_answers",
        sa.Column("person_id", sa.String(32), sa.ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        _text("request_hash", 64),
        _number("status", nullable=True),
        _text("body", nullable=True),
        _moment("created_at"),
    )
    op.create_index("ix_kept_answers_created_at", "kept_answers", ["created_at"])


def _guards_on_postgresql() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.execute(
        "ALTER TABLE appointments ADD CONSTRAINT appointments_no_overlap EXCLUDE USING gist ("
        " practitioner_id WITH =, tstzrange(busy_from, busy_until) WITH &&"
        f") WHERE (state IN {SLOT_HOLDING})"
    )
    op.execute(
        "CREATE FUNCTION holdspace_only_added() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'only_added: % may not be changed or deleted', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_only_added BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION holdspace_only_added()"
        )


def _guards_on_sqlite() -> None:
    overlapping = (
        f"NEW.state IN {SLOT_HOLDING} AND EXISTS (SELECT 1 FROM appointments AS other"  # noqa: S608  our own constant
        " WHERE other.practitioner_id = NEW.practitioner_id AND other.id <> NEW.id"
        f" AND other.state IN {SLOT_HOLDING}"
        " AND other.busy_from < NEW.busy_until AND NEW.busy_from < other.busy_until)"
    )
    changes = "UPDATE OF state, practitioner_id, busy_from, busy_until"
    for name, change in (("insert", "INSERT"), ("update", changes)):
        op.execute(
            f"CREATE TRIGGER appointments_no_overlap_{name} BEFORE {change} ON appointments"
            f" WHEN {overlapping} BEGIN SELECT RAISE(ABORT, 'appointments_no_overlap'); END"
        )
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, 'only_added: {table}'); END"
            )
