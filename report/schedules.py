"""The learning-rate schedules that training can follow, in one picture."""

from dataclasses import replace
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from fmsel.report.figure import COLOURS, SMALL_SIZE, SOFT, clean_axes, new_figure, set_heading
from fmsel.training.engine.schedule import Schedule

POINTS = 800


def schedules_figure(steps: int, lr: float) -> Figure:
    """Left: FixMatch's 7/16 cosine beside a constant rate; right: cosine cycles with restarts.

    Args:
        steps: length of the run, 1 or more.
        lr: the highest rate.
    """
    figure = new_figure(11, 4.6)
    left, right = figure.subplots(1, 2, sharey=True)
    cosine = Schedule(name="fixmatch", lr=lr, steps=steps)
    draw(left, cosine, "fixmatch: lr cos(7π/16 · k/K)")
    draw(left, replace(cosine, warmup=steps // 10), "with a warm-up of K/10 steps")
    draw(left, replace(cosine, name="constant"), "constant")
    end = cosine(steps)
    left.annotate(
        f"ends at {end:.5f}\n= {end / lr:.3f} lr",
        (steps, end),
        xytext=(-50, -6),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=SMALL_SIZE,
        color=COLOURS[0],
    )
    cycles = replace(cosine, name="sgdr", cycle=ceil(steps / 4), lr_min=lr / 100)
    draw(right, cycles, "sgdr: cycles of K/4 steps")
    doubling = replace(cycles, cycle=ceil(steps / 7), growth=2)
    draw(right, doubling, "first cycle K/7, each twice as long")
    for axes, title, note in (
        (left, "Cosine of FixMatch", f"K = {steps:,} steps, lr = {lr:g}"),
        (right, "Cosine with restarts", f"down to lr/100 = {lr / 100:g} in each cycle"),
    ):
        clean_axes(axes)
        axes.set_xlim(0, steps)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_ylim(0, lr * 1.08)
        axes.set_xlabel("training step k", fontsize=SMALL_SIZE, color=SOFT)
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.02, -0.14), frameon=False, fontsize=SMALL_SIZE
        )
        set_heading(axes, title, note)
    left.set_ylabel("learning rate", fontsize=SMALL_SIZE, color=SOFT)
    return figure


def draw(axes: Axes, schedule: Schedule, label: str) -> None:
    """One schedule from step 0 to its last."""
    points = [round(k * schedule.steps / POINTS) for k in range(POINTS)]
    steps = sorted(set(points) | {schedule.steps - 1})
    colour = COLOURS[len(axes.lines) % len(COLOURS)]
    axes.plot(steps, [schedule(step) for step in steps], color=colour, lw=2, label=label)
