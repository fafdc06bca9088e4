"""Completion of values in the shell: the right names, no library loaded, in a real bash."""

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.models import ParameterInfo

from fmsel.cli.app import PANELS, main
from fmsel.cli.completion import METRICS, MOST, SPLITS, STRATEGIES, VALUES, completer, files, runs
from fmsel.datasets import dataset_names
from fmsel.embeddings.vectors.make import encoder_names
from fmsel.fixmatch.presets import PRESETS
from fmsel.fixmatch.rules import rule_names
from fmsel.fixmatch.run.record import CONFIG
from fmsel.labeling.apply import Agreement
from fmsel.metrics.scores.catalogue import GROUPS, metric_names
from fmsel.selection.pool import strategy_names
from fmsel.training.augment.strong import strong_names
from fmsel.training.engine.optim import OPTIMIZERS
from fmsel.training.engine.schedule import SCHEDULES


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with splits, scores and runs."""
    for name in (
        "splits/mixed.json",
        "splits/my split.json",
        "splits/random.json",
        "splits/old/first.json",
        "splits/notes.txt",
        "scores/digits.npz",
        f"runs/mixed-seed0/{CONFIG}",
        f"runs/mixed-seed0/checkpoints/x/{CONFIG}",
        f"loops/digits/tracks/random-seed0/round-0/run/{CONFIG}",
        ".hidden/splits/secret.json",
        "label.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(command: str, parameter: str, typed: str = "") -> list[str]:
    complete = completer(command, parameter)
    assert complete is not None
    return complete(typed)


@pytest.mark.parametrize(
    ("command", "parameter", "names"),
    [
        ("score", "dataset", dataset_names()),
        ("gallery", "metric", metric_names()),
        ("score", "metric", (*metric_names(), *GROUPS)),
        ("loop", "strategy", strategy_names()),
        ("loop", "start", strategy_names()),
        ("train", "preset", PRESETS),
        ("train", "rule", rule_names()),
        ("train", "augment", strong_names()),
        ("train", "optimizer", OPTIMIZERS),
        ("train", "schedule", SCHEDULES),
        ("label", "agreement", get_args(Agreement)),
    ],
)
def test_the_names_are_those_there_are(command: str, parameter: str, names: Any) -> None:
    assert sorted(offered(command, parameter)) == sorted(names)


def test_encoders_are_offered_as_they_are_typed() -> None:
    typed = {name.replace("NAME", "") for name in encoder_names()} | {"run:"}
    assert set(offered("embed", "encoder")) == typed


def test_only_what_begins_like_what_was_typed() -> None:
    assert METRICS("adv") == ["adv", "adv-linf"]
    assert STRATEGIES("typ") == ["typiclust"]
    assert offered("train", "precision", "b") == ["bf16"]


@pytest.mark.usefixtures("project")
def test_files_of_the_right_kind_are_offered() -> None:
    # nothing typed: the folder where they are written
    assert SPLITS("") == ["splits/mixed.json", "splits/random.json", "splits/old/first.json"]
    assert SPLITS("splits/m") == ["splits/mixed.json"]
    assert SPLITS("spl")[0] == "splits/mixed.json"
    assert SPLITS("./lab") == ["./label.json"] or SPLITS("lab") == ["label.json"]
    assert SPLITS("splits/old/") == ["splits/old/first.json"]
    assert SPLITS("nothing") == SPLITS("nothing/at/all") == SPLITS("~/splits") == []
    absolute = str(Path("splits").resolve())
    assert SPLITS(f"{absolute}/mi") == [f"{absolute}/mixed.json"]
    assert files(".npz")("") == ["scores/digits.npz"]


@pytest.mark.usefixtures("project")
def test_runs_are_offered_and_not_what_is_in_them() -> None:
    assert runs("") == ["runs/mixed-seed0"]
    assert runs("runs/") == ["runs/mixed-seed0"]
    assert runs("loops/digits/") == ["loops/digits/tracks/random-seed0/round-0/run"]


def test_no_more_than_can_be_read(tmp_path: Path) -> None:
    for number in range(MOST + 50):
        (tmp_path / f"{number}.json").touch()
    assert len(files(".json")(f"{tmp_path}/")) == MOST


def parameters() -> dict[str, ParameterInfo]:
    """ "command parameter" -> what typer knows of it, for every command that has a function."""
    from importlib import import_module

    found = {}
    for name in " ".join(PANELS.values()).split():
        module = import_module(f"fmsel.cli.{name}")
        functions: dict[str, Callable[..., Any]] = {name: getattr(module, name)}
        for each in module.app.registered_commands if hasattr(module, "app") else ():
            functions[f"{name} {each.name or each.callback.__name__}"] = each.callback
        for command, function in functions.items():
            for parameter in inspect.signature(function).parameters.values():
                for note in get_args(parameter.annotation):
                    if isinstance(note, ParameterInfo):
                        found[f"{command} {parameter.name}"] = note
    return found


def test_every_entry_is_of_a_parameter_and_reaches_it() -> None:
    known = parameters()
    for key in VALUES:
        of = [note for name, note in known.items() if name == key or name.split()[-1] == key]
        assert of, key
        assert all(note.autocompletion is not None for note in of), key


def bash(line: str, folder: Path) -> list[str]:
    """What a real bash offers when tab is pressed at the end of `line`."""
    script = subprocess.run(
        [sys.executable, "-c", SHOW, "bash"], capture_output=True, text=True, check=True
    ).stdout
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    code = (
        f"{script}\nfmsel() {{ {sys.executable} -c '{RUN}' \"$@\"; }}; export -f fmsel\n"
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n"
        "_fmsel_completion bash_fmsel\nprintf '%s\\n' \"${COMPREPLY[@]}\""
    )
    # `$1` of the script is the command; a file of that name runs fmsel
    program = folder / "bash_fmsel"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{RUN}' \"$@\"\n")
    program.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PATH": path},
    )
    return done.stdout.split("\n")[:-1]


RUN = 'import sys; sys.argv[0] = "fmsel"; from fmsel.cli.app import command; command()'
SHOW = (
    "import sys; shell = sys.argv[1]; sys.argv = ['fmsel', '--show-completion', shell]; "
    "import os; os.environ['_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION'] = '1'; "
    "from fmsel.cli.app import command; command()"
)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_a_real_bash_completes_commands_options_names_and_files(project: Path) -> None:
    assert bash("fmsel wa", project) == ["watch"]
    assert bash("fmsel train --spl", project) == ["--split"]
    assert bash("fmsel train --split splits/m", project) == ["splits/mixed.json"]
    assert bash("fmsel labels im", project) == ["import"]
    assert bash("fmsel score digits --metric adv", project) == ["adv", "adv-linf"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_their_scripts(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW, shell], capture_output=True, text=True, check=True
    )
    assert "_FMSEL_COMPLETE=complete_" + shell in done.stdout
    environment = {
        "_FMSEL_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "fmsel train --rule f",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    assert [name for name in rule_names() if name in done.stdout] == [
        name for name in rule_names() if name.startswith("f")
    ]


def test_completing_loads_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; sys.argv = ['fmsel']; from fmsel.cli.app import main; main(); "
        "sys.exit(bool({'torch', 'numpy', 'sklearn', 'PIL'} & sys.modules.keys()))"
    )
    for line in ("fmsel score ", "fmsel train --rule ", "fmsel train --augment ", "fmsel watch "):
        environment = {
            "_FMSEL_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=False,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, (line, done.stderr)


def test_the_root_help_offers_to_install_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out
