"""`fmsel --help` and that of each command: they fit 80 columns, and what they show can be typed."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import typer.main

from fmsel.cli.app import PANELS, app, main
from fmsel.cli.help import EXAMPLES

WIDTH = 80
BORDER = "╭╰│"


def commands() -> Iterator[tuple[str, Any]]:
    """(name, command) of every command and group; the root's name is empty."""
    waiting: list[tuple[str, Any]] = [("", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        yield name, command
        below = getattr(command, "commands", {})
        waiting += [(f"{name} {each}".strip(), below[each]) for each in below]


COMMANDS = dict(commands())


def help_of(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TERMINAL_WIDTH", str(WIDTH))
    assert main([*name.split(), "--help"]) == 0
    return capsys.readouterr().out


def test_the_commands_stand_in_panels_in_the_order_of_the_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = help_of("", capsys, monkeypatch).splitlines()
    panels = [match[1] for line in lines if (match := re.match(r"╭─ (.*?) ─", line))]
    assert panels == ["Options", *PANELS]
    shown = [match[1] for line in lines if (match := re.match(r"│ ([a-z]+)  +\S", line))]
    assert shown == " ".join(PANELS.values()).split()
    assert set(shown) == set(COMMANDS[""].commands)
    # each is told in one line
    rows = [line for line in lines if line.startswith("│") and not line.startswith("│ -")]
    assert len([row for row in rows if re.match(r"│ [a-z]", row)]) == len(shown)
    after = lines[next(i for i, line in enumerate(lines) if "─ Choose ─" in line) :]
    assert not any(re.match(r"│ {5,}\S", line) for line in after)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_fits_and_names_every_option(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = help_of(name, capsys, monkeypatch)
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    for option in COMMANDS[name].params:
        if option.param_type_name == "option":
            for word in (*option.opts, *option.secondary_opts):
                assert re.search(rf"(?m)^│.*{word}(?![\w-])", text), word
            # the last words, too: square brackets may be taken for markup
            missing = [word for word in option.help.split() if word not in text]
            assert option.help and not missing, (option.name, missing)
    assert "list[" not in re.sub(r"<list\[Path\]>", "", text)
    for example in EXAMPLES[name]:
        assert any(line.strip() == f"$ {example}" for line in lines), example


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_paragraphs_of_help_are_broken_by_the_terminal_alone(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line ends while the next word would still have stood on it."""
    text = help_of(name, capsys, monkeypatch).split("╭")[0]
    lines = [line.strip() for line in text.splitlines()]
    for line, following in pairwise(lines):
        if line and following:
            assert len(line) + 1 + len(following.split()[0]) > WIDTH - 2, line


def test_every_command_has_an_example() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("example", sorted({each for lines in EXAMPLES.values() for each in lines}))
def test_examples_are_understood(example: str) -> None:
    program, *words = shlex.split(example)
    assert program == "fmsel"
    context = COMMANDS[""].make_context("fmsel", words)
    while hasattr(context.command, "commands"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            break
        _, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(command.name, rest, parent=context)
    name = context.command_path.removeprefix("fmsel").strip()
    assert name in COMMANDS


@pytest.mark.parametrize("name", ["score", "labels import", "train"])
def test_an_example_that_is_wrong_would_be_seen(name: str) -> None:
    with pytest.raises(Exception, match="No such option"):
        context = COMMANDS[name].make_context(name, ["--no-such-option"])
        context.command.invoke(context)
