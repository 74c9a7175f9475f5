"""`python -m benchmarks WHAT`: a table on the terminal, or one line of JSON with `--json FILE` (`-`: stdout)."""

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import forward, machine
from benchmarks.peers import PROFILES


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
    _tell("")
    if arguments.json is None:
        _print_table(f"forward, 1 → {options.subscribers}, {options.seconds:g} s", result.rows())
    else:
        text = json.dumps(result.as_json()) + "\n"
        if arguments.json == "-":
            sys.stdout.write(text)
        else:
            Path(arguments.json).write_text(text, encoding="utf-8")
    return 0


def _print_table(title: str, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    when = datetime.now(UTC).date().isoformat()
    sys.stdout.write(f"{title}\n{machine.describe()}, {when}\n\n")
    for name, value in rows:
        sys.stdout.write(f"  {name:<{width}}  {value}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast this machine runs Holdspace.")
    what = parser.add_subparsers(required=True, metavar="WHAT")
    one = what.add_parser(
        "forward",
        help="CPU per forwarded packet, one publisher to many subscribers, against the limit loop",
        description=forward.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("--json", metavar="FILE", help="write one line of JSON instead of the table; - is standard output")
    one.add_argument("--subscribers", type=int, default=50, metavar="N")
    one.add_argument("--seconds", type=float, default=10.0, metavar="S", help="length of the measured window")
    one.add_argument("--gro", action="store_true", help="receivers use UDP_GRO")
    one.add_argument("--no-gso", action="store_true", help="the server sends every packet by itself")
    one.add_argument("--profile", choices=sorted(PROFILES), help="SRTP profile (default: what both ends like best)")
    one.set_defaults(run=_run_forward)
    return parser


def main() -> int:
    arguments = _parser().parse_args()
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
