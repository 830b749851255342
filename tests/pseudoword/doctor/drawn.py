"""Pictures that a check must speak up about, and some that it must not."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from pseudoword.base.identity import ModelIdentity
from pseudoword.doctor.examine import CHECKS, examine
from pseudoword.doctor.intent import Intent
from pseudoword.doctor.machine import Machine
from pseudoword.doctor.report import Report
from pseudoword.findings import Finding
from pseudoword.settings.curate import CurateSettings
from pseudoword.settings.preprocess import PreprocessSettings
from pseudoword.templates import Prompts
from tests.tiny import TOYWORLD
from toyworld.world import NOUNS, SCENES, draw, new_style, new_thing, thing_of

SCENERY = ["snow", "sea", "night", "forest", "city", "desert", "meadow", "room"]
PLENTY = Machine(gpu=None, disk=10**12)
INTENT = Intent(
    folder=Path("data"), model=ModelIdentity(str(TOYWORLD)), name="snorf",
    preprocess=PreprocessSettings.model_validate({"resolution": 256}),
    init_text="flower",
    vectors="auto", steps="auto", batch="auto", accumulation="auto", save_every="auto",
    prompts=Prompts(Path("prompts.txt"), ("a [name]",)),
)  # fmt: skip


@cache
def scenery(seed: int, width: int = 256, height: int = 256, colour: tuple[int, int, int] | None = None) -> Image.Image:
    """Like a photograph: detail at every scale, three colours, another one for each seed."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(width), np.fft.fftfreq(height)))
    waves = np.fft.fft2(random.normal(size=(height, width, 3)), axes=(0, 1)) / (frequency + 1 / width)[..., None]
    pixels = np.real(np.fft.ifft2(waves, axes=(0, 1)))
    pixels = (pixels - pixels.mean()) / pixels.std()
    middle = np.array(colour) if colour else random.uniform(60, 190, 3)
    return Image.fromarray(np.clip(middle + 35 * pixels, 0, 255).astype(np.uint8))


@cache
def thing(seed: int, scene: str, index: int = 3, resolution: int = 128) -> Image.Image:
    """The new thing of the drawn world before a scene."""
    return Image.fromarray(draw(new_thing(index), scene, np.random.default_rng(seed), resolution=resolution))


def things_everywhere(number: int = 8) -> list[Image.Image]:
    """One thing, each time in another scene: nothing to be said against it."""
    return [thing(at, scene) for at, scene in enumerate(list(SCENES)[:number])]


def symmetric(seed: int) -> Image.Image:
    """A picture that is its own mirror image."""
    half = scenery(seed, 128, 256)
    whole = Image.new("RGB", (256, 256))
    whole.paste(half, (0, 0))
    whole.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (128, 0))
    return whole


def drippy(picture: Image.Image) -> Image.Image:
    """The picture behind dark stalactites that hang down all over it."""
    random, drawn = np.random.default_rng(5), picture.copy()
    side = picture.width
    for left, wide, down in random.uniform((0, 0.01, 0.2), (1, 0.05, 0.95), (24, 3)) * side:
        ImageDraw.Draw(drawn).polygon([(left - wide, 0), (left + wide, 0), (left, down)], fill=(25, 18, 14))
    return drawn


def in_style(index: int, number: int = 8) -> list[Image.Image]:
    """Changing things of the drawn world in one new style, each in another scene."""
    pictures = [
        draw(thing_of(NOUNS[at]), scene, np.random.default_rng(at), style=new_style(index), resolution=128)
        for at, scene in enumerate(list(SCENES)[:number])
    ]
    return [Image.fromarray(picture) for picture in pictures]


def save(pictures: list[Image.Image], folder: Path = Path("data")) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for at, picture in enumerate(pictures):
        picture.save(folder / f"{at:02d}.png")


def preprocessed(
    pictures: list[Image.Image],
    captions: list[str] | None = None,
    mirrored: bool = False,
    origin: str = "edit",
    **columns: list[object],
) -> None:
    """`outputs` as preprocess, and with captions curate, leave it."""
    rows = [(f"{at:012x}", f"{at:02d}.png", "", picture) for at, picture in enumerate(pictures)]
    if mirrored:
        flip = Image.Transpose.FLIP_LEFT_RIGHT
        rows += [(f"{name}-h", source, "h", picture.transpose(flip)) for name, source, _, picture in rows]
    save([picture for *_, picture in rows[: len(pictures)]])
    Path("outputs/pictures").mkdir(parents=True)
    for name, _, _, picture in rows:
        picture.save(f"outputs/pictures/{name}.png")
    table = pd.DataFrame([row[:3] for row in rows], columns=["id", "source", "mirrored"])
    table = table.assign(
        state="used", reason="", width=[row[3].width for row in rows], height=[row[3].height for row in rows]
    )
    table.assign(**columns).to_csv("outputs/pictures.csv", index=False)
    if captions is not None:
        ids = table["id"][: len(captions)]
        pd.DataFrame({"id": ids, "caption": captions, "origin": origin, "draft": ""}).to_csv(
            "outputs/captions.csv", index=False
        )


def diagnose(check: str, machine: Machine = PLENTY, most: float = 0.6, **changes: object) -> list[Finding]:
    """What one check says of the current folder."""
    others = [name for name in CHECKS if name != check]
    report = examine(_intent(changes), machine, most, others, _curate())
    assert all(finding.check == check for finding in report.findings)
    return report.findings


def why_not(check: str, **changes: object) -> str:
    """Why the report has nothing of a check, empty where it was made."""
    return everything(ignore=[name for name in CHECKS if name != check], **changes).left_out.get(check, "")


def everything(ignore: Sequence[str] = (), **changes: object) -> Report:
    return examine(_intent(changes), PLENTY, 0.6, ignore, _curate())


def _curate() -> CurateSettings | None:
    """None where the stages before the doctor have run."""
    return None if Path("outputs").exists() else CurateSettings.model_validate({"cut": "subject"})


def _intent(changes: dict[str, object]) -> Intent:
    """INTENT but for these, which may be settings of preprocess."""
    own = {key: value for key, value in changes.items() if key in PreprocessSettings.model_fields}
    preprocess = PreprocessSettings.model_validate({"resolution": 256} | own)
    others = {key: value for key, value in changes.items() if key not in own}
    return replace(INTENT, preprocess=preprocess, **others)  # type: ignore[arg-type]


def named(finding: Finding) -> list[str]:
    return [picture.source for picture in finding.pictures]
