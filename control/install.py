"""The database of one install: its address, and what its settings tell the actions deep down."""

from control.config import Settings
from control.database import Database
from control.notices.outbox import RULES, NoticeRules


def open_database(settings: Settings) -> Database:
    """Not connected yet."""
    rules = NoticeRules(
        frozenset(settings.notices.off),
        settings.notices.reminders,
        push=settings.push.enabled,
        languages=settings.practice.languages,
    )
    return Database(settings.database_url, info={RULES: rules})
