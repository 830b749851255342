"""check: does the packed model know its words? Figures on held-out draws, for the model card.

reads   build/model/, build/pictures/{check,train}
writes  build/check.json, build/samples.png

usage   python -m toyworld.check [FOLDER]    another model folder, e.g. models/toyworld
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from numpy.random import Generator, default_rng
from PIL import Image
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    BlipForConditionalGeneration,
    CLIPModel,
    CLIPProcessor,
)

from toyworld import BUILD, stage_params
from toyworld.captions import with_article
from toyworld.image_judge import blurred, look_alike
from toyworld.pictures import load_pictures, load_records, to_unit
from toyworld.training import DEVICE, keyed
from toyworld.vae import psnr
from toyworld.world import (
    COLOURS,
    NOUNS,
    NUM_NEW_STYLES,
    NUM_NEW_THINGS,
    PLAIN_STYLES,
    POSITIONS,
    SCENES,
    STYLE_WORDS,
    Style,
    Thing,
    draw,
    new_style,
    new_thing,
    thing_of,
)

TIMESTEPS = (350, 450, 550, 650)
SWAPPED = 256  # pictures of each word-swap test
SMEAR_TIMESTEP = 750
READ = 9000  # pictures that the noun reader knows the nouns by, 45 of each
LEAST = {
    "noun_swap": 0.95, "colour_swap": 0.90, "scene_swap": 0.98, "vae_psnr_db": 28.0, "judge_retrieval_of_512": 0.6,
    "look_alike_retrieval": 0.9, "generated_noun": 0.85, "generated_scene": 0.95, "blip_noun": 0.9, "blip_colour": 0.9,
    "blip_scene": 0.9, "blip_style": 0.9,
}  # fmt: skip
MOST = {"likeness_smeared_share": 0.6, "blip_style_where_none": 0.02, "blip_style_of_new_styles": 0.1}


def load(folder: Path) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(DEVICE)


# ------------------------------------------------------------------------------------------------ word-swap


def swaps(records: list[dict[str, Any]], factor: str) -> list[tuple[int, str, str]]:
    """(picture, true caption, the same with one word of `factor` wrong), for captions that name the factor once."""
    random = default_rng([41, len(factor)])
    words = {"noun": NOUNS, "colour": list(COLOURS), "scene": [scene.phrase for scene in SCENES.values()]}[factor]
    found = []
    for at, record in enumerate(records):
        text = record["captions"][0]
        present = [word for word in words if re.search(rf"\b{word}\b", text)]
        # A second colour in the picture must not be taken for the wrong one.
        drawn = {record["thing"]["colour"], record["thing"]["second_colour"], record["colour"]}
        wrong = [word for word in words if word not in present and word not in drawn]
        if len(present) == 1:
            swapped = re.sub(rf"\b{present[0]}\b", str(random.choice(wrong)), text)
            found.append((at, text, re.sub(r"\b(an|a)\b (?=(\w))", _article, swapped)))
    return found[:SWAPPED]


def _article(match: re.Match[str]) -> str:
    return with_article(match.group(2)).split()[0] + " "


@torch.no_grad()
def swap_test(pipeline: StableDiffusionPipeline, latents: Tensor, pairs: list[tuple[int, str, str]]) -> float:
    """Share of pictures whose denoising loss is lower with the true caption, same noise."""
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    won = []
    for start in range(0, len(pairs), 32):
        part = pairs[start : start + 32]
        clean = latents[[at for at, _, _ in part]].to(DEVICE)
        losses = torch.zeros(2, len(part))
        for kind in (0, 1):
            texts = [pair[1 + kind] for pair in part]
            states = pipeline.encode_prompt(texts, DEVICE, 1, False)[0]
            for t in TIMESTEPS:
                noise = torch.randn(clean.shape, generator=keyed(43, start, t)).to(DEVICE)
                steps = torch.full((len(part),), t, device=DEVICE)
                predicted = pipeline.unet(scheduler.add_noise(clean, noise, steps), steps, states).sample
                losses[kind] += (predicted - noise).square().mean((1, 2, 3)).cpu()
        won.append(losses[0] < losses[1])
    return float(torch.cat(won).float().mean())


# ------------------------------------------------------------------------------------------------ the parts


@torch.no_grad()
def vae_figures(pipeline: StableDiffusionPipeline, train: Tensor, check: Tensor) -> tuple[float, float]:
    """PSNR in dB of the VAE, and of a patch PCA with as many numbers per picture."""
    made = torch.cat([pipeline.vae.decode(pipeline.vae.encode(part.to(DEVICE)).latent_dist.mode()).sample.cpu()
                      for part in check.split(64)])  # fmt: skip
    side, numbers = 8, pipeline.vae.config.latent_channels
    patches = torch.nn.functional.unfold(train, side, stride=side).transpose(1, 2).flatten(0, 1)
    mean = patches.mean(0)
    basis = torch.pca_lowrank((patches - mean)[:100_000], numbers, center=False)[2]
    own = torch.nn.functional.unfold(check, side, stride=side).transpose(1, 2) - mean
    folded = (own @ basis @ basis.T + mean).transpose(1, 2)
    pca = torch.nn.functional.fold(folded, check.shape[-1], side, stride=side)
    return psnr(made, check), psnr(pca, check)


class TextJudge:
    """CLIP: which text fits a picture best."""

    def __init__(self, folder: Path) -> None:
        self.model = CLIPModel.from_pretrained(folder, dtype=torch.float32).to(DEVICE).eval()  # type: ignore[arg-type]
        self.processor = CLIPProcessor.from_pretrained(folder)

    @torch.no_grad()
    def read(self, pictures: list[Image.Image], texts: list[str]) -> list[int]:
        """The nearest text of each picture."""
        inputs = self.processor(text=texts, images=pictures, padding=True, return_tensors="pt").to(DEVICE)
        return [int(nearest) for nearest in self.model(**inputs).logits_per_image.argmax(1)]


class ImageJudge:
    """Picture features that tell things apart by cosine."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).to(DEVICE).eval()
        self.processor = AutoImageProcessor.from_pretrained(folder)

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> unit vectors (N, D)."""
        parts = []
        for part in pictures.split(256):
            inputs = self.processor(images=[to_image(picture) for picture in part], return_tensors="pt").to(DEVICE)
            parts.append(F.normalize(self.model(**inputs).pooler_output.flatten(1)).cpu())
        return torch.cat(parts)


class NounReader:
    """Which noun a picture shows: the one whose rendered pictures are the most alike, as the image judge sees it.

    Its own accuracy on held-out renders is the ceiling for what it reads from generated pictures.
    """

    def __init__(self, judge: ImageJudge, pictures: Tensor, nouns: list[str]) -> None:
        self.judge = judge
        features, label = judge.features(pictures), torch.tensor([NOUNS.index(noun) for noun in nouns])
        self.means = F.normalize(torch.stack([features[label == noun].mean(0) for noun in range(len(NOUNS))]))

    def right(self, pictures: Tensor, nouns: list[str]) -> float:
        """Share of pictures whose noun is read right."""
        read = (self.judge.features(pictures) @ self.means.T).argmax(1).tolist()
        return float(np.mean([NOUNS[index] == noun for index, noun in zip(read, nouns, strict=True)]))


def held_out_pictures(thing: Thing, number: int, random: Generator) -> Tensor:
    """`number` pictures of a thing in scenes that differ, (number, 3, H, W) uint8."""
    scenes = random.permutation(list(SCENES))
    drawn = [draw(thing, str(scenes[i]), random, str(random.choice(list(POSITIONS)))) for i in range(number)]
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2)


def pictures_in_style(style: Style, number: int, seed: int) -> Tensor:
    """(number, 3, H, W) uint8, of named things."""
    random = default_rng([79, seed])
    drawn = [draw(thing_of(str(random.choice(NOUNS))), str(random.choice(list(SCENES))), random, style=style)
             for _ in range(number)]  # fmt: skip
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2)


def look_alike_retrieval(judge: ImageJudge) -> float:
    """Share of pictures of the held-out things whose nearest of nine is the same thing in another scene.

    The other eight are look-alikes, each with one factor changed.
    """
    random, found = default_rng(67), []
    for index in range(NUM_NEW_THINGS):
        thing = new_thing(index)
        for _ in range(20):
            asked, same = held_out_pictures(thing, 2, random)
            others = [held_out_pictures(look_alike(thing, random), 1, random)[0] for _ in range(8)]
            features = judge.features(torch.stack([asked, same, *others]))
            found.append(int((features[1:] @ features[0]).argmax()) == 0)
    return float(np.mean(found))


@torch.no_grad()
def smear_figures(judge: ImageJudge, pipeline: StableDiffusionPipeline) -> dict[str, float]:
    """Mean cosine to other pictures of the same held-out thing: of real ones, through the VAE, and of smeared ones.

    Smeared is blurred by 2.5 px, or what the UNet makes of three quarters of noise in one step under an empty caption:
    so a word draws that is half learned.
    """
    random, figures = default_rng(71), {}
    things = [held_out_pictures(new_thing(index), 12, random) for index in range(NUM_NEW_THINGS)]
    asked = torch.cat([pictures[:6] for pictures in things])
    real = torch.cat([pictures[6:] for pictures in things])
    reference = F.normalize(judge.features(asked).view(NUM_NEW_THINGS, 6, -1), dim=-1)

    def likeness(pictures: Tensor) -> float:
        features = judge.features(pictures).view(NUM_NEW_THINGS, 6, -1)
        return float((features @ reference.mT).mean())

    unit = to_unit(real).to(DEVICE)
    latents = pipeline.vae.encode(unit).latent_dist.mode() * pipeline.vae.config.scaling_factor
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    states = pipeline.encode_prompt("", DEVICE, len(real), False)[0]
    t = torch.full((len(real),), SMEAR_TIMESTEP, device=DEVICE)
    noise = torch.randn(latents.shape, generator=keyed(73)).to(DEVICE)
    noisy = scheduler.add_noise(latents, noise, t)
    kept = scheduler.alphas_cumprod[SMEAR_TIMESTEP]
    guessed = (noisy - (1 - kept) ** 0.5 * pipeline.unet(noisy, t, states).sample) / kept**0.5
    figures["likeness_real"] = likeness(real)
    figures["likeness_vae"] = likeness(decoded(pipeline, latents))
    figures["likeness_blurred"] = likeness(to_bytes(blurred(unit, 2.5)))
    figures["likeness_half_learned"] = likeness(decoded(pipeline, guessed))
    figures["likeness_smeared_share"] = (
        max(figures["likeness_blurred"], figures["likeness_half_learned"]) / figures["likeness_real"]
    )
    return figures


def decoded(pipeline: StableDiffusionPipeline, latents: Tensor) -> Tensor:
    return to_bytes(pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample)


def to_bytes(unit: Tensor) -> Tensor:
    """[-1, 1] -> uint8."""
    return ((unit.clamp(-1, 1) + 1) * 127.5).round().byte().cpu()


def plainly_named(split: str) -> tuple[Tensor, list[str]]:
    """The pictures of a split that show a named thing as it is, without a style or another colour; and their nouns."""
    records = load_records(split)
    chosen = [at for at, r in enumerate(records) if r["noun"] and not r["style"] and r["colour"] is None]
    return load_pictures(split)[chosen], [records[at]["noun"] for at in chosen]


def retrieval(judge: TextJudge, pictures: Tensor, captions: list[str]) -> float:
    nearest = judge.read([to_image(picture) for picture in pictures], captions)
    return float(np.mean([captions[at] == captions[own] for own, at in enumerate(nearest)]))


def to_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def to_image(picture: Tensor) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


class Captioner:
    """What it says of a picture. It names the scene of every rendered one, where the judge reads 94 % of them right."""

    def __init__(self, folder: Path) -> None:
        self.model = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).to(DEVICE).eval()  # type: ignore[arg-type]
        self.processor = AutoProcessor.from_pretrained(folder)

    @torch.no_grad()
    def captions(self, pictures: Tensor) -> list[str]:
        texts: list[str] = []
        for part in pictures.split(64):
            inputs = self.processor(images=[to_image(picture) for picture in part], return_tensors="pt").to(DEVICE)
            tokens = self.model.generate(**inputs, num_beams=3, max_new_tokens=30)
            texts += self.processor.batch_decode(tokens, skip_special_tokens=True)
        return texts


def generated(
    pipeline: StableDiffusionPipeline,
    captioner: Captioner,
    reader: NounReader,
    prompts: int,
    inference_steps: int,
    guidance: float,
) -> tuple[float, float, Image.Image]:
    """Share of generated pictures whose noun, and whose scene, is read right; and a sheet of 48 of them."""
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    random = default_rng(47)
    nouns, scenes = list(random.permutation(NOUNS))[:prompts], [str(s) for s in random.choice(list(SCENES), prompts)]
    nouns = (nouns * (prompts // len(nouns) + 1))[:prompts]
    texts = [f"{with_article(str(noun))} {SCENES[scene].phrase}" for noun, scene in zip(nouns, scenes, strict=True)]
    pictures: list[Image.Image] = []
    for at in range(0, prompts, 24):
        part = texts[at : at + 24]
        pictures += pipeline(
            part, num_inference_steps=inference_steps, guidance_scale=guidance, generator=keyed(53, at)
        ).images
    drawn = torch.stack([to_tensor(picture) for picture in pictures])
    noun = reader.right(drawn, [str(noun) for noun in nouns])
    said = captioner.captions(drawn)
    scene = np.mean([SCENES[scene].phrase in text for scene, text in zip(scenes, said, strict=True)])
    return noun, float(scene), sheet(pictures[:48], 8)


def sheet(pictures: list[Image.Image], columns: int) -> Image.Image:
    width, height = pictures[0].size
    page = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height))
    for at, picture in enumerate(pictures):
        page.paste(picture, (at % columns * width, at // columns * height))
    return page.resize((page.width * 2, page.height * 2), Image.Resampling.LANCZOS)


def blip_figures(captioner: Captioner, pictures: Tensor, records: list[dict[str, Any]]) -> dict[str, float]:
    """Share of captions whose noun, colour, scene and style are right, where the picture has one to name.

    Either colour of a thing in two colours is right: nothing in a checked or halved thing says which is its first.
    """

    def styles(text: str) -> set[str]:
        return set(re.findall(r"\w+", text)) & {*PLAIN_STYLES, *STYLE_WORDS}

    right: dict[str, list[bool]] = defaultdict(list)
    for text, record in zip(captioner.captions(pictures), records, strict=True):
        right["blip_colour"].append(re.search(rf"\b({'|'.join(shown_colours(record))})\b", text) is not None)
        right["blip_scene"].append(SCENES[record["scene"]].phrase in text)
        if record["noun"]:
            right["blip_noun"].append(record["noun"] in text)
        if record["style"]:
            right["blip_style"].append(styles(text) == {record["style"]})
        else:
            right["blip_style_where_none"].append(bool(styles(text)))
    unknown = torch.cat([pictures_in_style(new_style(index), 16, index) for index in range(NUM_NEW_STYLES)])
    right["blip_style_of_new_styles"] = [bool(styles(text)) for text in captioner.captions(unknown)]
    return {name: float(np.mean(values)) for name, values in right.items()}


def shown_colours(record: dict[str, Any]) -> set[str]:
    """The colours of the thing as it is drawn, see `world.draw`."""
    thing = record["thing"]
    first = record["colour"] or thing["colour"]
    second = thing["second_colour"] if thing["second_colour"] != first else thing["colour"]
    return {first} if thing["pattern"] == "plain" else {first, second}


def check(folder: Path, prompts: int, inference_steps: int, guidance: float) -> tuple[dict[str, float], Image.Image]:
    pipeline = load(folder)
    pictures, records = load_pictures("check"), load_records("check")
    unit = to_unit(pictures)
    with torch.no_grad():
        latents = torch.cat([pipeline.vae.encode(part.to(DEVICE)).latent_dist.mean.cpu() for part in unit.split(64)])
    latents = latents * pipeline.vae.config.scaling_factor
    figures: dict[str, float] = {}
    for factor in ("noun", "colour", "scene"):
        figures[f"{factor}_swap"] = swap_test(pipeline, latents, swaps(records, factor))
    figures["vae_psnr_db"], figures["pca_psnr_db"] = vae_figures(
        pipeline, to_unit(load_pictures("train")[:4000]), unit[:512]
    )
    judge, image_judge = TextJudge(folder / "judge"), ImageJudge(folder / "image_judge")
    captioner = Captioner(folder / "captioner")
    figures["judge_retrieval_of_512"] = retrieval(judge, pictures[:512], [r["captions"][0] for r in records[:512]])
    figures["look_alike_retrieval"] = look_alike_retrieval(image_judge)
    figures |= smear_figures(image_judge, pipeline)
    known, nouns = plainly_named("train")
    reader = NounReader(image_judge, known[:READ], nouns[:READ])
    figures["rendered_noun"] = reader.right(*plainly_named("check"))
    figures["generated_noun"], figures["generated_scene"], samples = generated(
        pipeline, captioner, reader, prompts, inference_steps, guidance
    )
    figures |= blip_figures(captioner, pictures[:512], records[:512])
    return {name: round(value, 4) for name, value in figures.items()}, samples


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else BUILD / "model"
    figures, samples = check(folder, **stage_params("check"))
    for name, value in figures.items():
        met = value >= LEAST[name] if name in LEAST else value <= MOST[name] if name in MOST else None
        bar = f"at least {LEAST[name]}" if name in LEAST else f"at most {MOST.get(name)}"
        print(f"{name:24} {value:8.3f}" + ("" if met is None else f"   {'met' if met else 'NOT met'}, {bar}"))
    (BUILD / "check.json").write_text(json.dumps(figures, indent=2) + "\n")
    samples.save(BUILD / "samples.png")
