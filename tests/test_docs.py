"""What docs/ tells is what there is: snippets of params.yaml that load, tests and settings that exist."""

import re
from functools import reduce
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import yaml

from pseudoword.captions import lint
from pseudoword.doctor.budget import WARNING_SHARE, memory_of
from pseudoword.doctor.examine import CHECKS
from pseudoword.settings.loading import Settings, load_settings

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def snippets() -> list[tuple[str, dict[str, dict[str, object]]]]:
    found = []
    for page in PAGES:
        for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)):
            content = yaml.safe_load(text)
            if isinstance(content, dict) and set(content) <= set(Settings.model_fields):
                found.append((f"{page.stem}-{number}", content))
    return found


@pytest.mark.parametrize(("name", "content"), snippets(), ids=[name for name, _ in snippets()])
def test_a_snippet_of_settings_is_valid(name: str, content: dict[str, dict[str, object]], tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    merged = {**PARAMS, **{section: PARAMS[section] | values for section, values in content.items()}}
    params.write_text(yaml.safe_dump(merged))
    load_settings(params)


def test_the_doctors_page_tells_every_check() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|(?!$)", (ROOT / "docs/doctor.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(CHECKS)


def test_the_page_on_captions_tells_every_check_of_lint() -> None:
    page = (ROOT / "docs/captions-review.md").read_text()
    table = page[page.index("| finding | means |") :].split("\n\n")[0]
    told = [check for row in table.splitlines()[2:] for check in row.split("|")[1].strip().split(", ")]
    assert sorted(told) == sorted(get_args(lint.Check))


# Parameters of UNet, text encoders and VAE, and levels of the UNet, of the published models.
PARAMETERS = {
    "Stable Diffusion 1.5": (859_520_964, 123_060_480, 83_653_863, 4),
    "Stable Diffusion 2.1": (865_910_724, 340_387_840, 83_653_863, 4),
    "SDXL": (2_567_463_684, 817_720_320, 83_653_863, 3),
}
CARD_GB = 8


def test_what_fits_into_a_small_card_is_what_the_doctor_estimates() -> None:
    page = (ROOT / "docs/platforms.md").read_text()
    rows = re.findall(r"^\| ([\w .]+) \| (\d+) \| ([\d.]+) GB \| ([\d.]+) GB \| (\w+) \|$", page, re.MULTILINE)
    assert {row[0] for row in rows} == set(PARAMETERS)
    for name, px, weights, each, pictures in rows:
        unet, encoders, vae, levels = PARAMETERS[name]
        model = SimpleNamespace(unet=unet, encoders=encoders, vae=vae, levels=levels, shrink=8)
        case = SimpleNamespace(pictures=[SimpleNamespace(px=(int(px), int(px)))])
        needed, more = memory_of(case, model)  # type: ignore[arg-type]
        assert (weights, each) == (f"{needed / 1e9:.1f}", f"{more / 1e9:.1f}")
        fitting = int((WARNING_SHARE * CARD_GB * 1e9 - needed) // more)
        assert pictures == (str(fitting) if fitting > 0 else "none")


def test_the_tests_that_keep_a_defect_out_exist() -> None:
    page = (ROOT / "docs/a1111.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) >= 20
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in text_of(file)]
    assert not missing


def text_of(file: str) -> str:
    path = ROOT / file
    return path.read_text() if path.is_file() else ""


def test_the_settings_of_the_parity_table_exist() -> None:
    page = (ROOT / "docs/a1111.md").read_text()
    named = re.findall(rf"`((?:{'|'.join(Settings.model_fields)})\.[a-z_.]+)", page)
    assert len(named) > 40
    for key in named:
        reduce(step, key.split("."), PARAMS)


def step(section: object, key: str) -> object:
    assert isinstance(section, dict) and key in section, f"no setting {key}"
    return section[key]
