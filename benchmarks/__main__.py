"""`python -m benchmarks WHAT`: a table on the terminal, or one line of JSON with `--json FILE` (`-`: stdout)."""

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from benchmarks import forward, join, machine, namespace, recovery
from benchmarks.participant import PROFILES

CANNOT_HERE: Final = 3
"""Exit code: the machine doesn't let this benchmark run; nothing was measured."""


class Result(Protocol):
    """What every benchmark answers."""

    def as_json(self) -> dict[str, Any]: ...
    def rows(self) -> list[tuple[str, str]]: ...


def _tell(text: str) -> None:
    """Progress goes to the terminal only, never into a file or a pipe."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def _run_forward(arguments: argparse.Namespace) -> int:
    options = forward.Options(
        subscribers=arguments.subscribers,
        seconds=arguments.seconds,
        gro=arguments.gro,
        gso=not arguments.no_gso,
        profile=arguments.profile,
    )
    result = asyncio.run(forward.measure(options, _tell))
    _report(arguments.json, f"forward, 1 → {options.subscribers}, {options.seconds:g} s", result)
    return 0


def _run_join(arguments: argparse.Namespace) -> int:
    result = asyncio.run(join.measure(arguments.joins, _tell))
    _report(arguments.json, f"join, {arguments.joins} times", result)
    return 0


def _run_recovery(arguments: argparse.Namespace) -> int:
    names = arguments.case or list(recovery.CASES)
    result = asyncio.run(recovery.measure(names, arguments.seconds, _tell))
    _report(arguments.json, f"recovery, {len(names)} cases", result)
    return 0


def _report(json_file: str | None, title: str, result: Result) -> None:
    _tell("")
    if json_file is None:
        _print_table(title, result.rows())
        return
    text = json.dumps(result.as_json()) + "\n"
    if json_file == "-":
        sys.stdout.write(text)
    else:
        Path(json_file).write_text(text, encoding="utf-8")


def _print_table(title: str, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    when = datetime.now(UTC).date().isoformat()
    sys.stdout.write(f"{title}\n{machine.describe()}, {when}\n\n")
    for name, value in rows:
        sys.stdout.write(f"  {name:<{width}}  {value}\n")


def _add(
    what: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, short: str, module: ModuleType
) -> argparse.ArgumentParser:
    one = what.add_parser(
        name, help=short, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    one.add_argument("--json", metavar="FILE", help="write one line of JSON instead of the table; - is standard output")
    return one


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast this machine runs Holdspace.")
    what = parser.add_subparsers(required=True, metavar="WHAT")
    one = _add(
        what, "forward", "CPU per forwarded packet, one publisher to many subscribers, against the limit loop", forward
    )
    one.add_argument("--subscribers", type=int, default=50, metavar="N")
    one.add_argument("--seconds", type=float, default=10.0, metavar="S", help="length of the measured window")
    one.add_argument("--gro", action="store_true", help="receivers use UDP_GRO")
    one.add_argument("--no-gso", action="store_true", help="the server sends every packet by itself")
    one.add_argument("--profile", choices=sorted(PROFILES), help="SRTP profile (default: what both ends like best)")
    one.set_defaults(run=_run_forward)
    one = _add(what, "join", "from the click on join to the first decoded picture, in Chromium", join)
    one.add_argument("--joins", type=int, default=20, metavar="N")
    one.set_defaults(run=_run_join)
    one = _add(what, "recovery", "freezes and broken sound on a bad line, in Chromium", recovery)
    one.add_argument(
        "--case",
        action="append",
        choices=list(recovery.CASES),
        metavar="CASE",
        help="only this one (may be repeated): %(choices)s",
    )
    one.add_argument("--seconds", type=float, default=10.0, metavar="S", help="length of a case without rate steps")
    one.set_defaults(run=_run_recovery)
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    try:
        status: int = arguments.run(arguments)
    except namespace.NoRight as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_HERE
    return status


if __name__ == "__main__":
    sys.exit(main())
