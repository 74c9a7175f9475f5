"""The pages: one module per page or group of pages, each with `routes`; `setup` adds them all to the application."""

from __future__ import annotations

from importlib import import_module

from aiohttp import web

from control.keys import ERROR_PAGE
from web import script_words, static_files
from web.render import error_page, setup_templates

PAGES = (
    "public",
    "signing_in",
    "booker",
    "series",
    "client",
    "session",
    "consent",
    "afterwards",
    "room",
    "chat",
    "problems",
    "files",
    "therapist",
    "availability",
    "clients",
    "my_practice",
    "recordings",
    "wallet",
    "receipts",
    "earnings",
    "refunds",
    "admin",
    "staff",
    "account",
    "messages",
    "enquiries",
    "desk",
    "my_data",
    "testimonials",
    "installed",
)


def setup(app: web.Application) -> None:
    setup_templates(app)
    app[ERROR_PAGE] = error_page
    app.add_routes(static_files.routes)
    app.add_routes(script_words.routes)
    for page in PAGES:
        module = import_module(f"web.views.{page}")
        app.add_routes(module.routes)
