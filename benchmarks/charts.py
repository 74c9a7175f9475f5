"""Plots that a person can read: one look for all benchmarks, saved as SVG or PNG by the file's ending.

matplotlib comes with the extra `bench`; without it everything but `--plot` works.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS: Final = "#2f6f73"
THEIRS: Final = "#b9772f"
GOAL: Final = "#a33b3b"
QUIET: Final = "#8a8f94"
STYLE: Final[dict[str, Any]] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e5e8",
    "svg.fonttype": "none",
    "svg.hashsalt": "holdspace",
}


class Drawable(Protocol):
    def draw(self, figure: "Figure") -> None: ...


class NoPlots(Exception):
    """matplotlib is not installed."""


def save(drawable: Drawable, title: str, caption: str, path: Path) -> None:
    """Raises NoPlots, and what matplotlib raises when it can't write `path`."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NoPlots("--plot needs matplotlib: pip install 'holdspace[bench]'") from error
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its keys are a Literal of hundreds
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        figure.suptitle(title, fontweight="bold", x=0.01, ha="left")
        drawable.draw(figure)
        figure.supxlabel(caption, fontsize=7, color="#5c6268", x=0.01, ha="left")
        figure.savefig(path, dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None)


def bars(
    axes: "Axes",
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    number: str = "{:.2f}",
    rotate: bool = False,
) -> None:
    """Groups of bars side by side, one group per name, each with its number on top."""
    width = 0.8 / len(series)
    for index, ((label, values), color) in enumerate(zip(series.items(), (OURS, THEIRS, QUIET), strict=False)):
        places = [place + (index - (len(series) - 1) / 2) * width for place in range(len(names))]
        drawn = axes.bar(places, values, width, color=color, label=label)
        axes.bar_label(drawn, labels=[number.format(value) for value in values], fontsize=7, padding=1)
    axes.set_xticks(range(len(names)), names, rotation=30 if rotate else 0, ha="right" if rotate else "center")
    axes.grid(visible=False, axis="x")
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8)


def goal(axes: "Axes", value: float, text: str) -> None:
    """A goal as a line across, named at its right end."""
    axes.axhline(value, color=GOAL, linewidth=1, linestyle="--")
    axes.annotate(text, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7, color=GOAL)
