"""What `make gpu` does, on a CPU: nothing of the minutes on a card is to be lost to a typing error."""

from pathlib import Path

import pytest

from bench import gpu


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_step_runs_and_all_figures_come_into_the_table(capsys: pytest.CaptureFixture[str]):
    gpu.main(["--tiny"])
    printed = capsys.readouterr().out
    for name in (f"{layout} {way}" for layout in ("sd15", "sdxl") for way in ("bf16", "bf16 graphs", "fp16")):
        assert f"| {name} | 2 runs x 1 |" in printed and f"| {name} | reference x 2 |" in printed
    assert printed.count("two rows fit") == 2


def test_a_step_that_fails_or_takes_too_long_is_told_and_the_next_one_is_taken(tmp_path: Path):
    failing = gpu.Step("failing", ["-c", "raise SystemExit('no card')"], 60)
    assert gpu.take(failing, 60).startswith("failed (1)") and "no card" in gpu.take(failing, 60)
    assert gpu.take(gpu.Step("slow", ["-c", "import time; time.sleep(60)"], 0.2), 60) == "stopped after 0 s"
    assert gpu.take(gpu.Step("late", ["-c", "print(1)"], 60), -1) == "not begun: the time is up"
    assert gpu.take(gpu.Step("good", ["-c", "print('as it should')"], 60), None) == "as it should"


def test_the_steps_together_may_not_take_longer_than_promised(tmp_path: Path):
    found = gpu.steps(tmp_path, tiny=False)
    assert [step.name for step in found][:5] == ["tests", "sd15 bf16", "sdxl bf16", "memory sd15", "memory sdxl"]
    assert gpu.LIMIT_S <= 480 and len(found) == 11
    assert all(step.command[0] == "-m" for step in found)
