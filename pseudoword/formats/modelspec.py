"""ModelSpec 1.0.1 fields, by which other tools recognise a safetensors file.

https://github.com/Stability-AI/ModelSpec
"""

from collections.abc import Mapping

NAMED = ("modelspec.title", "modelspec.trigger_phrase", "modelspec.usage_hint")  # fields that hold the word's name


def modelspec(word: str, family: str, resolution: int, description: str = "", date: str = "") -> dict[str, str]:
    """Metadata of a textual inversion; all values are text, empty ones are left out.

    word        what one writes in a prompt; also the title
    family      of the base model: sd1, sd2, their -inpainting, or sdxl; any other name is used as it is
    resolution  px, what the base model draws
    date        ISO 8601; left out by default, because the same training shall give the same bytes
    """
    fields = {
        "sai_model_spec": "1.0.1",
        "architecture": f"{_architecture(family, resolution)}/textual-inversion",
        "implementation": "diffusers",
        "title": word,
        "description": description,
        "date": date,
        "resolution": f"{resolution}x{resolution}",
        "trigger_phrase": word,
        "usage_hint": f"Trigger word: {word}",
    }
    return {f"modelspec.{key}": value for key, value in fields.items() if value}


def renamed(metadata: Mapping[str, str], word: str) -> dict[str, str]:
    """The metadata of a file whose word has another name now: of the fields that hold it those that are there."""
    fields = modelspec(word, "", 0)
    return {key: fields.get(key, value) if key in NAMED else value for key, value in metadata.items()}


def _architecture(family: str, resolution: int) -> str:
    # The two 2.x models differ in what they predict, and ModelSpec tells them apart by their resolution.
    return {
        "sd1": "stable-diffusion-v1",
        "sd2": "stable-diffusion-v2-768-v" if resolution >= 768 else "stable-diffusion-v2-512",
        "sdxl": "stable-diffusion-xl-v1-base",
    }.get(family.removesuffix("-inpainting"), family)
