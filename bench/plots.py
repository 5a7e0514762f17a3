"""Draws the curves for the documentation: one SVG for each, in docs/images/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.curves import Measured
from bench.rebalance import MEMBERS, PARTITIONS, RESTART_EVERY_S, RollingRestart

IMAGES = Path(__file__).parent.parent / "docs" / "images"
COLOURS = ("#8a8f98", "#0b7285", "#c2410c")
INK, PAPER, GRID = "#2b2f36", "#ffffff", "#e3e6ea"


def draw(curves: Sequence[Measured], into: Path = IMAGES) -> None:
    _prepare(into)
    for curve in curves:
        _draw(curve, into / f"cost-by-{curve.name}.svg")


def draw_pauses(rows: Sequence[RollingRestart], into: Path = IMAGES) -> None:
    """Draw when each partition stood still during a rolling restart: a band of partitions for each row of EVKafka."""
    from matplotlib.figure import Figure

    _prepare(into)
    rows = [row for row in rows if row.title.startswith("EVKafka")]
    end_s = rows[0].signals_s[0] + MEMBERS * RESTART_EVERY_S
    figure = Figure(figsize=(7.2, 1.6 * len(rows) + 0.6), facecolor=PAPER, layout="constrained")
    for axes, row in zip(figure.subplots(len(rows), sharex=True, squeeze=False)[:, 0], rows, strict=True):
        axes.set_facecolor(PAPER)
        for partition, from_s, to_s in row.pauses:
            axes.barh(partition, to_s - from_s, left=from_s, height=0.9, color=COLOURS[2])
        for at_s in row.signals_s:
            axes.axvline(at_s, color=COLOURS[0], linewidth=0.8, linestyle=":")
        axes.set_xlim(0, end_s)
        axes.set_ylim(-0.7, PARTITIONS - 0.3)
        axes.set_yticks([0, PARTITIONS - 1])
        axes.set_title(row.title, loc="left", color=INK, fontsize=11)
        axes.tick_params(colors=INK)
        for spine in axes.spines.values():
            spine.set_color(GRID)
    axes.set_xlabel("seconds; dotted: a process is told to stop, and started again", color=INK)
    figure.supylabel("partition", color=INK, fontsize=11)
    figure.savefig(
        into / "rolling-restart.svg", format="svg", metadata={"Date": None, "Creator": None}, facecolor=PAPER
    )


def _prepare(into: Path) -> None:
    import matplotlib as mpl  # imported here: only pictures need it

    mpl.use("svg")
    # Text stays text, and the same figures produce the same file.
    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "evkafka", "font.family": "sans-serif", "font.size": 11}
    )
    into.mkdir(parents=True, exist_ok=True)


def _draw(curve: Measured, path: Path) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = Figure(figsize=(7.2, 3.6), facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot(facecolor=PAPER)
    for (title, figures), colour in zip(curve.lines.items(), COLOURS, strict=False):
        axes.plot(curve.xs, figures, marker="o", markersize=4, linewidth=1.8, color=colour, label=title)
    if curve.in_tens:
        axes.set_xscale("log")
    highest, lowest = max(map(max, curve.lines.values())), min(map(min, curve.lines.values()))
    if highest > 20 * lowest:
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, highest * 1.15)
    axes.set_xticks(curve.xs)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_xlabel(curve.axis, color=INK)
    axes.set_ylabel("CPU microseconds per event", color=INK)
    axes.set_title(curve.title, loc="left", color=INK)
    axes.tick_params(colors=INK)
    axes.grid(visible=True, color=GRID)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    axes.legend(frameon=False, labelcolor=INK)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, facecolor=PAPER)
