"""The settings of the report's ablations: what each changes in a step, and what it must not."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from torch import nn
from torch.nn import functional as F

from fmsel.cli.app import app, main
from fmsel.cli.train import RECIPE
from fmsel.datasets import load_dataset
from fmsel.errors import OptionError
from fmsel.fixmatch.batches import Labelled, Unlabelled
from fmsel.fixmatch.config import FixMatchConfig, parse_prior
from fmsel.fixmatch.presets import configure
from fmsel.fixmatch.rules import RuleContext, make_rule
from fmsel.fixmatch.run import train
from fmsel.fixmatch.step import Learner, interleaved
from fmsel.selection.random_stratified import RandomStratified
from fmsel.selection.split import make_split

B, MU, C = 3, 2, 4


def learner(**settings: object) -> Learner:
    config = FixMatchConfig(steps=10, batch=B, mu=MU, threshold=0.3, **settings)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, C),
    ).double()  # fmt: skip
    context = RuleContext(
        threshold=config.threshold,
        temperature=config.temperature,
        hard=config.hard,
        n_classes=C,
        n_unlabelled=B * MU,
        device=torch.device("cpu"),
    )
    return Learner(model, make_rule(config.rule, context), config, "fp32")


def batch() -> tuple[Labelled, Unlabelled]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(B * (1 + 2 * MU), 3, 6, 6, generator=generator, dtype=torch.float64)
    x, weak, strong = torch.split(images, [B, B * MU, B * MU])
    return (
        Labelled(images=x, labels=torch.arange(B)),
        Unlabelled(weak=weak, strong=strong, index=torch.arange(B * MU)),
    )


def trained(steps: int = 3, **settings: object) -> dict[str, torch.Tensor]:
    made = learner(**settings)
    for step in range(steps):
        made.step(step, *batch())
    return {name: p.detach() for name, p in made.model.named_parameters()}


def test_interleaving_spreads_the_labelled_images_and_changes_only_rounding() -> None:
    order = interleaved(B, 1 + 2 * MU, torch.device("cpu"))
    assert sorted(order.tolist()) == list(range(B * (1 + 2 * MU)))
    for part in order.view(B, 1 + 2 * MU):
        assert int((part < B).sum()) == 1  # as in the reference: one labelled in each
    plain, mixed = trained(), trained(interleave=True)
    for name, value in plain.items():
        torch.testing.assert_close(mixed[name], value, rtol=1e-9, atol=1e-12)


def test_without_average_the_evaluated_weights_are_the_live_ones() -> None:
    made = learner(ema_decay=0.0)
    for step in range(3):
        made.step(step, *batch())
    for name, value in made.model.named_parameters():
        assert torch.equal(made.ema.average[name], value)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam", "lr": 0.001},
        {"schedule": "constant"},
        {"decay_all": True},
        {"hard": False},
        {"hard": False, "temperature": 0.5},
        {"warmup": 2},
        {"weak_gradient": False},
    ],
)
def test_each_setting_changes_the_weights(settings: dict[str, Any]) -> None:
    plain, other = trained(), trained(**settings)
    assert any(not torch.equal(other[name], value) for name, value in plain.items())
    assert all(torch.isfinite(value).all() for value in other.values())


def test_soft_targets_are_the_sharpened_prediction() -> None:
    """T -> 0 is the hard target; the loss is the cross-entropy of two distributions."""
    made = learner(hard=False, temperature=0.5)
    _, pseudo = made.step(0, *batch())
    assert pseudo is not None
    logits = learner().model(torch.cat([batch()[0].images, batch()[1].weak, batch()[1].strong]))
    weak = logits[B : B + B * MU].detach()
    powered = weak.exp() ** 2
    torch.testing.assert_close(pseudo.targets, powered / powered.sum(dim=1, keepdim=True))
    assert torch.equal(pseudo.classes, weak.argmax(dim=1))


def test_without_weak_gradient_weak_views_pass_alone() -> None:
    """By torch alone: two forward passes, each with a batch norm batch of its own."""
    made, labelled, unlabelled = learner(weak_gradient=False), *batch()
    plain = learner().model.train()
    with torch.no_grad():
        weak = plain(unlabelled.weak)
    both = plain(torch.cat([labelled.images, unlabelled.strong]))
    confidence, guess = weak.softmax(dim=1).max(dim=1)
    each = F.cross_entropy(both[B:], guess, reduction="none")
    expected = F.cross_entropy(both[:B], labelled.labels) + (each * (confidence >= 0.3)).mean()
    expected.backward()
    losses, pseudo = made.step(0, labelled, unlabelled)
    assert pseudo is not None and int((pseudo.weights > 0).sum()) > 0
    torch.testing.assert_close(losses.total, expected)
    for (name, ours), theirs in zip(made.model.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12, msg=name)
    for mine, other in zip(made.model.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, other)


def test_plateau_goes_by_past_labelled_losses() -> None:
    made = learner(schedule="plateau", plateau_patience=0, plateau_factor=0.5)
    made.step(0, *batch())
    assert made.optimizer.param_groups[0]["lr"] == 0.03
    made.past_losses = [1.0, 1.0]
    made.step(1, *batch())
    assert made.optimizer.param_groups[0]["lr"] == 0.015


def test_plateau_never_looks_at_the_test_part(tmp_path: Path) -> None:
    data, test = load_dataset("digits"), load_dataset("digits", part="test")
    wrong = dataclasses.replace(test, labels=(test.labels + 1) % 10)
    split = make_split(data, RandomStratified(), batch_size=20)
    config = FixMatchConfig(
        arch="small-conv-4", steps=60, batch=8, mu=1, eval_every=5, schedule="plateau",
        plateau_patience=0, ema_decay=0.0,
    )  # fmt: skip
    curves = []
    for name, part in (("right", test), ("wrong", wrong)):
        out = tmp_path / name
        train(split, data, part, config, out, seed=0, device="cpu", progress=False)
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        curves.append([(row["lr"], row["loss_labelled"]) for row in rows])
    assert curves[0] == curves[1]
    assert curves[0][-1][0] < 0.03


def test_the_rate_of_a_row_is_that_of_the_step_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, used, prepare = load_dataset("digits"), dict[int, float](), Learner.prepare

    def noting(self: Learner, step: int) -> None:
        prepare(self, step)
        used[step] = self.optimizer.param_groups[0]["lr"]

    monkeypatch.setattr(Learner, "prepare", noting)
    split = make_split(data, RandomStratified(), batch_size=20)
    config = FixMatchConfig(
        arch="small-conv-4", steps=60, batch=8, mu=1, eval_every=5, schedule="plateau",
        plateau_patience=0,
    )  # fmt: skip
    train(split, data, None, config, tmp_path / "run", seed=0, device="cpu", progress=False)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rates = {row["step"]: row["lr"] for row in map(json.loads, lines)}
    assert {step: rates[step] for step in range(5, 60, 5)} == {
        step: used[step] for step in range(5, 60, 5)
    }
    assert len(set(rates.values())) > 1


def test_adam_has_its_own_rate_unless_one_is_given() -> None:
    assert configure("cpu", 32, "cpu", {"optimizer": "adam"}).lr == 0.001
    assert configure("cpu", 32, "cpu", {"optimizer": "adam", "lr": 0.01}).lr == 0.01
    assert configure("cpu", 32, "cpu", {}).lr == 0.03


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "lamb"}, "optimizer=lamb must be one of sgd, adam"),
        ({"schedule": "linear"}, "schedule=linear must be one of fixmatch, sgdr"),
        ({"temperature": 0.5}, "sharpens soft pseudo-labels only"),
        ({"hard": False, "temperature": 0.0}, "must be above 0"),
        ({"plateau_factor": 1.0}, "must be in \\(0, 1\\)"),
        ({"sgdr_growth": 0}, "must be at least 1"),
        ({"augment": "mixup"}, "unknown augment 'mixup'; use one of"),
        ({"prior": "0.5,0.6"}, "sum to 1"),
        ({"prior": "many"}, "must be uniform, labelled, or one share"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        FixMatchConfig(**settings)  # type: ignore[arg-type]


def test_priors_are_read() -> None:
    assert parse_prior(None) is None
    assert parse_prior("uniform") == "uniform"
    assert parse_prior("0.5,0.25,0.25") == (0.5, 0.25, 0.25)


def test_every_setting_is_an_option_of_train() -> None:
    command = typer.main.get_command(app)
    options = command.commands["train"].params  # type: ignore[attr-defined]
    recipe = {each.name for each in options if getattr(each, "rich_help_panel", "") == RECIPE}
    assert recipe == {field.name for field in dataclasses.fields(FixMatchConfig)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "inf"], "lr=inf must be finite"),
        (["--lambda-u", "nan"], "lambda_u=nan must be finite"),
        (["--warmup", "20"], "warmup=20 must be below steps=20"),
        (["--schedule", "sgdr", "--lr-min", "0.5"], "lr_min=0.5 must be at most lr=0.03"),
        (["--prior", "0.5,nan,0.5"], "must be uniform, labelled, or one share above 0"),
        (["--rule", "adamatch", "--prior", "0.5,0.5"], "prior has 2 shares, but the data set has"),
        (["--resume", "--force"], "pass one of them"),
    ],
)
def test_bad_options_of_train_are_one_sentence_and_write_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_split(load_dataset("digits"), RandomStratified(), batch_size=40).save(Path("s.json"))
    assert main(["train", "--split", "s.json", "--preset", "smoke", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("runs").exists()


def test_a_split_that_does_not_fit_stops_all_runs_before_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = load_dataset("digits")
    make_split(data, RandomStratified(), batch_size=40).save(Path("good.json"))
    make_split(data, RandomStratified(), batch_size=4).save(Path("few.json"))
    words = ["--split", "good.json", "--split", "few.json", "--rule", "adamatch"]
    assert main(["train", *words, "--prior", "labelled", "--preset", "smoke"]) == 2
    assert "needs an image of every class" in capsys.readouterr().err
    assert not Path("runs").exists()
