"""The figures of `fmsel bench train`, as a table on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def print_bench(figures: Mapping[str, Any]) -> None:
    """Print what `fmsel.experiments.bench.bench_train` returned."""
    best = figures["roofline"]
    table = Table(title="One training step", show_header=False)
    rows = [
        ("device", f"{figures['device']}, {figures['precision']}, {figures['mode']}"),
        ("network", f"{figures['arch']}, B = {figures['batch']}, mu = {figures['mu']}"),
        ("rate", f"{figures['it_per_s']:.3g} it/s over {figures['steps']} steps"),
        (
            "step",
            f"{figures['step_ms_median']:.4g} ms, {figures['step_ms_min']:.4g} to "
            f"{figures['step_ms_max']:.4g}",
        ),
        *((f"  {part}", f"{ms:.3g} ms") for part, ms in figures["parts_ms_eager"].items()),
        ("peak memory", f"{figures['peak_memory_bytes'] / 2**20:,.0f} MiB"),
        (
            "at best",
            f"{best['it_per_s']:.3g} it/s: {three_digits(best['flop_per_step'] / 1e9)} GFLOP in "
            f"{best['arithmetic_ms']:.3g} ms, traffic in {best['memory_ms']:.3g} ms",
        ),
        ("share of it", f"{best['share']:.0%}"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    console = Console()
    console.print(table)
    console.print(
        "Parts: run eagerly with a wait after each. At best: this device's own speed of a large "
        "matrix product and a large copy, measured just now."
    )


def three_digits(value: float) -> str:
    """Such as 0.387 or 1,160: three significant digits and no exponent."""
    return f"{float(f'{value:.3g}'):,.12g}"
