"""The `holdspace` command: one subcommand per task of an operator. Reads the settings, calls one function, says what
it did. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from control.config import Settings
from control.config_reading import SettingsError, read
from control.errors import Problem

Command = Callable[[argparse.Namespace, Settings], int]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    environment = dict(os.environ)
    if getattr(options, "demo", False):
        environment["HOLDSPACE_DEMO"] = "true"
    try:
        settings = read(environment, options.config)
        set_up_logging(settings)
        run: Command = options.run
        return run(options, settings)
    except SettingsError as error:
        print("Holdspace can't start with these settings:", file=sys.stderr)
        for mistake in error.mistakes:
            print(f"  {mistake}", file=sys.stderr)
    except Problem as problem:
        print(f"{problem.title}: {problem.detail} ({problem.code})", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def set_up_logging(settings: Settings) -> None:
    logging.basicConfig(
        level=settings.server.log_level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s %(message)s",
        stream=sys.stderr,
    )
    for loud in ("alembic", "aioice", "aiortc", "aiosqlite", "sqlalchemy.engine"):
        logging.getLogger(loud).setLevel(logging.WARNING)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="holdspace",
        description="Sessions for practitioners and their clients, on a media server of their own.",
        epilog="Settings: holdspace.toml, then HOLDSPACE_SECTION__KEY; `holdspace check --sample` prints them all.",
    )
    parser.add_argument("--config", type=Path, help="settings file (default: ./holdspace.toml if it is there)")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_demo(commands)
    _add_db(commands)
    _add_user(commands)
    _add_sessions(commands)
    _add_bench(commands)
    _add_check(commands)
    return parser
