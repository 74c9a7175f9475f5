"""`python -m benchmarks NAME`: a table, or JSON with `--json FILE` (`-`: stdout), and a plot with `--plot FILE`.

Every benchmark is a module with SUMMARY, `add_options` and `run`; what they run on is noted here, for all alike.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from benchmarks import api, blur, booking, charts, flood, forward, join, memory, peers, recording, recovery, sessions
from benchmarks.machine import Circumstances, Measuring
from benchmarks.namespace import NoRight

CANNOT_HERE: Final = 3
"""Exit code: the machine doesn't let this benchmark run; nothing was measured."""


class Result(charts.Drawable, Protocol):
    @property
    def title(self) -> str: ...
    def as_json(self) -> dict[str, Any]: ...
    def rows(self) -> list[tuple[str, str]]: ...


class Benchmark(Protocol):
    SUMMARY: str

    def add_options(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, options: argparse.Namespace, tell: Callable[[str], None]) -> Result: ...


BENCHMARKS: Final[dict[str, Benchmark]] = {
    "forward": forward,
    "sessions": sessions,
    "memory": memory,
    "flood": flood,
    "peers": peers,
    "recovery": recovery,
    "recording": recording,
    "blur": blur,
    "join": join,
    "booking": booking,
    "api": api,
}


def _tell(text: str) -> None:
    """Progress goes to the terminal only, never into a file or a pipe."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def _print_table(result: Result, circumstances: Circumstances) -> None:
    rows = [*result.rows(), *circumstances.rows()]
    width = max(len(name) for name, _ in rows)
    sys.stdout.write(f"{result.title}\n{circumstances.machine}, {circumstances.date}\n\n")
    for name, value in rows:
        sys.stdout.write(f"  {name:<{width}}  {value}\n")


def _write_json(result: Result, circumstances: Circumstances, file: str) -> None:
    text = json.dumps({**result.as_json(), **circumstances.as_json()}) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        Path(file).write_text(text, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast this machine runs Holdspace.")
    names = parser.add_subparsers(required=True, metavar="NAME", dest="name")
    for name, benchmark in BENCHMARKS.items():
        one = names.add_parser(
            name,
            help=benchmark.SUMMARY,
            description=benchmark.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("--json", metavar="FILE", help="write one line of JSON instead of the table; - is stdout")
        one.add_argument("--plot", metavar="FILE", type=Path, help="draw the result into an SVG or PNG file")
        benchmark.add_options(one)
    return parser


def main() -> int:
    options = _parser().parse_args()
    measuring = Measuring()
    try:
        result = BENCHMARKS[options.name].run(options, _tell)
    except NoRight as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_HERE
    circumstances = measuring.end()
    _tell("")
    if options.json:
        _write_json(result, circumstances, options.json)
    else:
        _print_table(result, circumstances)
    if options.plot:
        try:
            charts.save(result, result.title, circumstances.caption(), options.plot)
        except charts.NoPlots as error:
            sys.stderr.write(f"{error}\n")
            return CANNOT_HERE
    return 0


if __name__ == "__main__":
    sys.exit(main())
