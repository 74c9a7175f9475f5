"""Every table, one file per business noun. Importing this package registers them all on `Base.metadata`."""

from importlib import import_module

_NOUNS = (
    "people",
    "audit",
    "outbox",
    "notices",
    "practice",
    "appointments",
    "consents",
    "money",
    "ratings",
    "idempotency",
    "recordings",
)

for _noun in _NOUNS:
    try:
        import_module(f"control.models.{_noun}")
    except ModuleNotFoundError as missing:
        if missing.name != f"control.models.{_noun}":
            raise
