"""Named instances of `FixMatchConfig`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fmsel.errors import OptionError
from fmsel.fixmatch.config import FixMatchConfig
from fmsel.training.engine.device import resolve_device

ADAM_LR = 0.001  # the default of Kingma and Ba 2015; SGD's 0.03 is far too high for Adam
TINY_SIDE = 16  # pixels; images below it need fewer and smaller steps

PAPER = FixMatchConfig()
# A quarter of an hour at the 88 steps a second of an H200. A threshold that follows the network
# finds use for more images early on, and the rate falls to 0 where the paper's stops at a fifth.
FAST = replace(PAPER, steps=75_000, rule="freematch", schedule="sgdr", eval_every=500)
# Minutes on 2 cores. At a decay of 0.999 and 800 steps almost half of the start would be left in
# the average, and batch norm's statistics would lag as far behind.
CPU = FixMatchConfig(
    arch="small-conv-32",
    steps=800,
    ema_ramp=True,
    bn_momentum=0.05,
    eval_every=100,
)
CPU_TINY = replace(CPU, steps=400, batch=32, eval_every=40)
SMOKE = replace(CPU_TINY, arch="small-conv-8", steps=20, batch=16, mu=2, eval_every=5)

PRESETS = {"paper": PAPER, "fast": FAST, "cpu": CPU, "smoke": SMOKE}


def preset(name: str, image_side: int) -> FixMatchConfig:
    """The preset `name` for square images of `image_side` pixels.

    Raises:
        OptionError: there is no such preset.
    """
    if name not in PRESETS:
        raise OptionError(f"unknown preset {name!r}; use one of {', '.join(PRESETS)}")
    return CPU_TINY if name == "cpu" and image_side < TINY_SIDE else PRESETS[name]


def preset_name(config: FixMatchConfig, image_side: int) -> str | None:
    """The preset that `config` is, unchanged; None where it is none."""
    return next((name for name in PRESETS if preset(name, image_side) == config), None)


def configure(
    name: str | None, image_side: int, device: str, settings: Mapping[str, Any]
) -> FixMatchConfig:
    """A preset with some settings replaced.

    Args:
        name: of the preset; None is paper on a GPU and cpu elsewhere.
        image_side: pixels.
        device: as for `resolve_device`.
        settings: field -> value; None leaves the preset's. With the optimiser adam and no lr it is
            `ADAM_LR`.
    Raises:
        OptionError: an unknown preset or a value out of range.
        DeviceError: the device cannot be used.
    """
    if name is None:
        name = "paper" if resolve_device(device).type == "cuda" else "cpu"
    given = {field: value for field, value in settings.items() if value is not None}
    if given.get("optimizer") == "adam":
        given.setdefault("lr", ADAM_LR)
    return replace(preset(name, image_side), **given)
