"""`python -m fmsel.report.doctor_probe MODULE…`: which of them can be imported, line by line.

A process of its own, so that a library that crashes takes no more than this process with it. Every
line of stdout is a JSON list: ["start", MODULE] before each import, then ["done", MODULE, ERROR or
null], and after torch ["torch", what it sees].
"""

import json
import os
import sys
from importlib import import_module
from typing import Any


def main(modules: list[str]) -> None:
    """Import each module and say how it went."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is not ours

    def say(*line: Any) -> None:
        print(json.dumps(line), file=out, flush=True)

    for name in modules:
        say("start", name)
        try:
            import_module(name)
            if name == "torch":
                say("torch", _torch())
        except Exception as error:  # whatever a broken installation raises
            say("done", name, " ".join(f"{type(error).__name__}: {error}".split()))
        else:
            say("done", name, None)


def _torch() -> dict[str, Any]:
    """The devices that torch sees, and which one `--device auto` takes."""
    import torch

    from fmsel.errors import FmselError
    from fmsel.training.engine.device import device_name, resolve_device, resolve_precision

    gpus = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device("cuda", number)
        found = torch.cuda.get_device_properties(number)
        gpus.append(
            {
                "name": found.name,
                "memory": found.total_memory,
                "bf16": resolve_precision("auto", device) == "bf16",
            }
        )
    facts: dict[str, Any] = {
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "device": None,
        "precision": None,
        "error": None,
    }
    try:
        device = resolve_device("auto")
        facts |= {"device": device_name(device), "precision": resolve_precision("auto", device)}
    except FmselError as error:
        facts["error"] = str(error)
    return facts


if __name__ == "__main__":
    main(sys.argv[1:])
