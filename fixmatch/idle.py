"""Settings that nothing in a run reads: whoever gives one is told, not left to believe in it."""

from collections.abc import Mapping

from fmsel.errors import OptionError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.fixmatch.rules import reads_threshold

# Of the unlabelled images, which supervised-only training leaves out.
UNLABELLED = (
    "mu", "augment", "rule", "threshold", "hard", "temperature", "prior", "lambda_u",
    "weak_gradient", "interleave",
)  # fmt: skip


def idle_settings(config: FixMatchConfig, supervised_only: bool) -> dict[str, str]:
    """The fields that such a run never reads, each with why, and how to mend it."""
    schedule, idle = f"with --schedule {config.schedule}; leave it out, or use", dict[str, str]()
    if config.schedule != "sgdr":
        idle |= dict.fromkeys(("sgdr_cycle", "sgdr_growth"), f"{schedule} --schedule sgdr")
    elif not 0 < config.sgdr_cycle < config.steps - config.warmup:
        whole = (
            "while one cycle of sgdr is the whole run; leave it out, or give a shorter --sgdr-cycle"
        )
        idle["sgdr_growth"] = whole
    if config.schedule != "plateau":
        names = ("plateau_factor", "plateau_patience")
        idle |= dict.fromkeys(names, f"{schedule} --schedule plateau")
    if config.schedule not in ("sgdr", "plateau"):
        idle["lr_min"] = f"{schedule} --schedule sgdr or plateau"
    if config.optimizer == "adam":
        idle["momentum"] = "with --optimizer adam; leave it out, or use --optimizer sgd"
    if config.weight_decay == 0:
        idle["decay_all"] = "with --weight-decay 0; leave it out, or give a higher decay"
    if config.ema_decay == 0:
        idle["ema_ramp"] = "with --ema-decay 0; leave it out, or give a higher decay"
    if config.hard:
        idle["temperature"] = "without --soft; leave it out, or add --soft"
    if not reads_threshold(config.rule):
        idle["threshold"] = f"with --rule {config.rule}; leave it out, or use another --rule"
    if supervised_only:
        idle |= dict.fromkeys(UNLABELLED, "with --supervised-only; leave one of them out")
    return idle


def refuse_idle(config: FixMatchConfig, supervised_only: bool, given: Mapping[str, str]) -> None:
    """Refuse what was given and would do nothing.

    Args:
        config: the recipe, what was given included.
        supervised_only: no unlabelled images.
        given: field -> how it was given, such as "--lr-min".
    Raises:
        OptionError: it names the first.
    """
    for name, why in idle_settings(config, supervised_only).items():
        if name in given:
            raise OptionError(f"{given[name]} does nothing {why}")
