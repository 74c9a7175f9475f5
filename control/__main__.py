"""The `holdspace` command: one subcommand per task of an operator. Reads the settings, calls one function, says what
it did. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from control.config import Settings
from control.config_reading import SettingsError, read
from control.errors import Problem

Command = Callable[[argparse.Namespace, Settings], int]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not getattr(options, "passes_on", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
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
    for loud in ("alembic", "aioice", "aiortc", "aiosqlite", "fontTools", "sqlalchemy.engine"):
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
    _add_recordings(commands)
    _add_bench(commands)
    _add_check(commands)
    return parser


Subparsers = Any  # argparse's own type for it is private


def _add_serve(commands: Subparsers) -> None:
    serve = commands.add_parser(
        "serve", help="run the server", description="Run pages, API, signaling and media in one process."
    )
    serve.add_argument(
        "--demo", action="store_true", help="load the demo practice first and print its sign-ins (localhost only)"
    )
    serve.set_defaults(run=_serve)


def _serve(_options: argparse.Namespace, settings: Settings) -> int:
    from control.serving import serve  # the media core and the pages: nothing that a mere question needs

    return serve(settings)


def _add_demo(commands: Subparsers) -> None:
    demo = commands.add_parser(
        "demo",
        help="load or reset the demo practice",
        description="Load the demo practice “Linden Row” with people, services and free time. Safe to repeat.",
    )
    demo.add_argument("--reset", action="store_true", help="empty the database first; refused if anybody real is in it")
    demo.set_defaults(run=commands_of("load_demo"), demo=True)


def _add_db(commands: Subparsers) -> None:
    db = commands.add_parser("db", help="the database's schema").add_subparsers(metavar="ACTION", required=True)
    upgrade = db.add_parser(
        "upgrade", help="bring the schema up to date", description="Bring the schema up to date. Safe to repeat."
    )
    upgrade.set_defaults(run=commands_of("db_upgrade"))


def _add_user(commands: Subparsers) -> None:
    user = commands.add_parser("user", help="people").add_subparsers(metavar="ACTION", required=True)
    create = user.add_parser(
        "create",
        help="create a person",
        description="Create a person. Without --password a one-time link for the first sign-in is printed.",
    )
    create.add_argument("email", help="e-mail address, also the name to sign in with")
    create.add_argument("--name", required=True, help="name as others see it")
    create.add_argument(
        "--role",
        action="append",
        choices=["client", "practitioner", "support", "admin"],
        required=True,
        help="may be repeated",
    )
    create.add_argument("--time-zone", help="IANA zone such as Europe/Lisbon (default: the practice's)")
    create.add_argument("--password", action="store_true", help="ask for a password, or read it from a pipe")
    create.set_defaults(run=commands_of("create_user"))


def _add_sessions(commands: Subparsers) -> None:
    sessions = commands.add_parser("sessions", help="booked sessions").add_subparsers(metavar="ACTION", required=True)
    activate = sessions.add_parser(
        "activate",
        help="confirm sessions that are due",
        description="Confirm every paid session whose time has come, or one by its id.",
    )
    activate.add_argument("id", nargs="?", help="the session's id (default: all that are due)")
    activate.add_argument(
        "--force", action="store_true", help="with an id: also before its time; written to the audit log"
    )
    activate.set_defaults(run=commands_of("sessions_activate"))
    end = sessions.add_parser("end", help="end sessions", description="End every session that is over, or one by id.")
    end.add_argument("id", nargs="?", help="the session's id (default: all whose time is over)")
    end.set_defaults(run=commands_of("sessions_end"))
    remind = sessions.add_parser(
        "remind", help="send what is waiting", description="Send the notices that wait in the outbox, now."
    )
    remind.set_defaults(run=commands_of("sessions_remind"))
    explain = sessions.add_parser(
        "explain",
        help="say why a session can't be joined",
        description="Say in plain words, for each of its people, why a session can't be joined yet.",
    )
    explain.add_argument("id", help="the session's id")
    explain.set_defaults(run=commands_of("sessions_explain"))


def _add_recordings(commands: Subparsers) -> None:
    recordings = commands.add_parser("recordings", help="recorded sessions").add_subparsers(
        metavar="ACTION", required=True
    )
    listing = recordings.add_parser("list", help="list them", description="Ids, states and dates of all recordings.")
    listing.add_argument("--all", action="store_true", help="deleted ones too")
    listing.set_defaults(run=_on_disk("list_all"))
    verify = recordings.add_parser(
        "verify",
        help="check every byte of them",
        description="Authenticate every chunk of every file and compare hashes with the manifest and the database. "
        "Exit code 1 if anything is wrong. Shows nothing of what was recorded; may run beside the server.",
    )
    verify.add_argument("id", nargs="?", help="one recording (default: all)")
    verify.set_defaults(run=_on_disk("verify"))
    purge = recordings.add_parser(
        "purge",
        help="delete what is past its time",
        description="Do now what the server does each hour: tell practitioners of what will be deleted soon, delete "
        "what is due. What is under a legal hold stays.",
    )
    purge.add_argument("--dry-run", action="store_true", help="only say how many")
    purge.set_defaults(run=_on_disk("purge"))
    rotate = recordings.add_parser(
        "rotate-key",
        help="put them under a new key",
        description="Wrap every recording's keys in a new key, kept in recordings.key of the data folder. Stop the "
        "server first. Cut off half-way it goes on when run again.",
    )
    rotate.set_defaults(run=_on_disk("rotate_key"))


def _on_disk(name: str) -> Command:
    """Like `commands_of`, and hands in what reads the disk."""

    def run(options: argparse.Namespace, settings: Settings) -> int:
        from control import recording_commands
        from recorder import verifying

        command: Callable[..., int] = getattr(recording_commands, name)
        return command(options, settings, verifying)

    return run


def _add_bench(commands: Subparsers) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure this machine",
        description="Measure what this machine carries. Everything after `bench` goes to `python -m benchmarks`.",
        add_help=False,
    )
    bench.set_defaults(run=commands_of("bench"), passes_on=True)


def _add_check(commands: Subparsers) -> None:
    check = commands.add_parser(
        "check",
        help="check the settings and this machine",
        description="Check settings, ports, TLS, mail, key backup and kernel limits. Exit code 1 on a problem.",
    )
    check.add_argument("--sample", action="store_true", help="print a sample settings file and stop")
    check.add_argument("--table", action="store_true", help="print the settings as a Markdown table and stop")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace, settings: Settings) -> int:
    from control import check

    return check.run(settings, sample=options.sample, table=options.table)


def commands_of(name: str) -> Command:
    """A command whose code, with SQLAlchemy and all, is imported only when it runs: --help answers at once."""

    def run(options: argparse.Namespace, settings: Settings) -> int:
        from control import commands

        command: Command = getattr(commands, name)
        return command(options, settings)

    return run


if __name__ == "__main__":
    sys.exit(main())
