"""`fmsel plot`, through the command line."""

from pathlib import Path

import pytest
from PIL import Image

from fmsel.cli.app import main
from fmsel.report.schedules import schedules_figure


def test_plot_schedules_draws_a_picture(tmp_path: Path) -> None:
    out = tmp_path / "new" / "schedules.png"
    assert main(["plot", "schedules", "--steps", "1000", "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.width > 1000


def test_the_curves_are_the_schedules_in_closed_form() -> None:
    left, right = schedules_figure(1000, 0.03).axes
    ends = [line.get_ydata()[-1] for line in left.lines]  # type: ignore[index]
    assert ends == pytest.approx([0.00589, 0.00589, 0.03], abs=4e-5)  # one step before the end
    assert len(right.lines) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "-1"], "lr=-1.0 must be above 0"),
        (["--lr", "inf"], "lr=inf must be above 0 and finite"),
        (["--out", "a.svg"], "give it a name that ends in .png"),
        ([], "already exists; pass --force"),
    ],
)
def test_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    out = tmp_path / "there.png"
    out.write_text("mine")
    assert main(["plot", "schedules", "--out", str(out), *options]) == 2
    assert message in capsys.readouterr().err and out.read_text() == "mine"
