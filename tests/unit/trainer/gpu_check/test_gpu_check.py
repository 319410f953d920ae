"""`make gpu-check`'s logic, with the CPU in the GPU's place."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_rounds import SmallRounds

from labelloop.settings import Settings
from trainer.gpu_check import __main__ as program
from trainer.gpu_check import boxes, device, operators, rounds, run, serving
from trainer.gpu_check.lines import Line, verdict
from trainer.gpu_check.place import Place
from trainer.training import bundle
from trainer.training.learn import learn


@pytest.fixture
def place(tmp_path: Path) -> Place:
    small = SmallRounds.below(tmp_path, "yolox")
    return Place(
        small.settings,
        device="cpu",
        boxes=("yolox",),
        trained="yolox",
        iterations=3,
        reference_s=60.0,
        batches=(1, 4),
        size_s=0.0,
        pictures=8,
    )


def test_equal_operators_are_well_and_others_are_told(place: Place) -> None:
    lines = list(operators.check(place))
    assert verdict(lines) and {line.what for line in lines} >= {
        *("nms", "roi_align avg", "sigmoid_focal_loss", "deform_conv2d", "modulated_deform_conv2d")
    }
    assert all("gradients off by" in line.figures for line in lines if line.what != "nms")
    value, gradient = torch.ones(3), torch.ones(3)
    assert operators.line("x", [value, gradient], [value * 1.0005, gradient]).ok
    bad = operators.line("x", [value, gradient], [value, gradient * 1.01])
    assert not bad.ok and bad.figures["gradients off by"] == pytest.approx(0.01, rel=0.01)
    assert not operators.line("x", [value], [torch.full((3,), float("nan"))]).ok
    assert not operators.line("x", [value], [torch.ones(2)]).ok, "nms that keeps other boxes"


def test_no_pair_of_the_boxes_is_at_nmss_limit() -> None:
    """Rounding decides there: a right GPU could keep the other box."""
    from labelloop.boxes import iou_matrix

    corners, _ = operators.boxes(operators.Made())
    ious = iou_matrix(corners.numpy(), corners.numpy())
    assert abs(ious - 0.5).min() > 1e-6


def test_boxes_are_compared_where_there_are_some(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = boxes.check(place)
    assert line.ok and line.figures["weights"] == "random"
    assert not str(line.figures["compared"]).startswith("0 boxes")

    build = boxes.build

    def another(name: str, state: Any, settings: Any, device: str) -> Any:
        built = build(name, state, settings, device)
        another.calls += 1  # type: ignore[attr-defined]
        if another.calls == 2:  # type: ignore[attr-defined]
            with torch.no_grad():
                built.model.bbox_head.multi_level_conv_reg[0].bias += 0.2
        return built

    another.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(boxes, "build", another)
    [line] = boxes.check(place)
    assert not line.ok and "FAILED" in line.text() and "wanted: an IoU" in line.text()


def test_a_round_is_beside_the_cpus(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained in this process; tests/cuda has the real one."""

    def run_here(folder: Path, progress: object, cancel: object, environment: dict[str, str]) -> None:
        learn(folder, Settings(labelloop_home=Path(environment["LABELLOOP_HOME"]), threads=1))

    monkeypatch.setattr(rounds, "run", run_here)
    monkeypatch.setattr(bundle, "add_graph", lambda folder, images: "none")
    lines = {line.what: line for line in rounds.check(place)}
    assert list(lines) == ["on the CPU", "on the device, fp32", "on the device, auto", "images loaded beside"]
    assert lines["on the CPU"].figures["iterations"] == 3
    for what in ("on the device, fp32", "on the device, auto"):
        assert lines[what].ok and lines[what].figures["first off by"] == 0


def test_other_losses_and_missing_iterations_fail(place: Place) -> None:
    course = rounds.Course
    expected = course([10.0, 8.0, 6.0], 3.0, 0.1, {})
    assert rounds.beside("x", place, expected, course([10.1, 8.1, 6.4], 1.0, 0.1, {})).ok
    assert not rounds.beside("x", place, expected, course([10.5, 8.0, 6.0], 1.0, 0.1, {})).ok, "the first"
    assert not rounds.beside("x", place, expected, course([10.0, 14.0, 14.0], 1.0, 0.1, {})).ok, "later"
    assert not rounds.beside("x", place, expected, course([10.0, 8.0], 1.0, 0.1, {})).ok, "too few"
    assert not rounds.beside("x", place, expected, course([], 0.0, 0.0, {})).ok
    assert rounds.beside("x", place, course([10.0], 3.0, 0.1, {}), course([10.0, 8.0, 6.0], 1.0, 0.1, {})).ok


def test_serving_is_timed_at_each_size(place: Place) -> None:
    lines = list(serving.check(place))
    assert [(line.check, line.what) for line in lines] == [
        (check, f"yolox, fp32, {size} at once") for check in ("serving", "bulk") for size in (1, 4)
    ]
    assert all(line.ok and float(line.figures["images/s"]) > 0 for line in lines)


def printing(text: str, status: int = 0, seconds: float = 0.0) -> list[str]:
    code = f"import time; print({text!r}); time.sleep({seconds}); raise SystemExit({status})"
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("command", "at_most_s", "told"),
    [
        (printing("no lines"), 60.0, "nothing looked at"),
        (printing("", status=3), 60.0, "exit status 3"),
        (printing("", seconds=600), 1.0, "not done after 1 s"),
        ([sys.executable, "-c", "import os; os.abort()"], 60.0, "exit status -6"),
    ],
)
def test_a_check_that_ends_badly_is_a_line(command: list[str], at_most_s: float, told: str) -> None:
    said: list[Line] = []
    lines = run.all_lines([run.Bounded("boxes", at_most_s)], lambda name: command, said.append)
    assert lines == said and not verdict(lines) and told in str(lines[-1].figures["by"])


def test_what_a_check_raises_is_a_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(place: Place) -> Iterator[Line]:
        yield Line("device", "one", True)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(device, "check", broken)
    lines = list(run.lines_of("device", place))
    assert [line.ok for line in lines] == [True, False] and "illegal memory access" in lines[1].text()


def test_all_checks_take_less_than_eight_minutes() -> None:
    assert sum(check.seconds for check in run.CHECKS) < 8 * 60


def test_without_a_gpu_it_refuses_and_says_the_way_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert program.main([]) == program.NO_GPU
    assert "there is no GPU to check" in (told := capsys.readouterr().err) and "nvidia-smi" in told
    monkeypatch.setattr(torch.version, "cuda", None)
    assert program.main([]) == program.NO_GPU
    assert "make build ACCELERATOR=cuda" in capsys.readouterr().err


def test_the_table_the_json_and_the_status_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    rows = [Line("device", "a GPU", True, {"GB": 8.0}), Line("boxes", "nms", False, {"off by": float("inf")})]
    output = "\n".join(json.dumps(row.as_json()) for row in rows)
    monkeypatch.setattr(run, "this_program", lambda device: lambda name: printing(output))
    arguments = ["--device", "cpu", "--only", "device", "--out", str(tmp_path / "out")]
    assert program.main(arguments, place) == 1
    printed = capsys.readouterr().out
    assert "ok      device      a GPU: GB 8" in printed and "FAILED  boxes       nms: off by inf" in printed
    told = json.loads((tmp_path / "out" / "gpu-check.json").read_text())
    assert [line["ok"] for line in told["lines"]] == [True, False]
    monkeypatch.setattr(run, "this_program", lambda device: lambda name: printing(output.splitlines()[0]))
    assert program.main(arguments, place) == 0
