"""From whatever a file holds to RGB of 8 bits as it is meant to be seen, and how opaque it is."""

import io

import numpy as np
from PIL import Image, ImageCms

SRGB = ImageCms.createProfile("sRGB")
RAMPS = (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)
MAX_SRGB_ERROR = 4  # levels of 255 by which one sRGB may differ from another: small files have coarse curves


def to_rgb(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """(RGB over white, opaqueness as L or None) without any metadata, so that equal pixels become equal files."""
    image = _eight_bits(image)
    if not image.has_transparency_data:
        return _plain(image), None
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    colours = image.convert("L") if image.mode in ("LA", "La") else rgba.convert("RGB")
    colours.info["icc_profile"] = image.info.get("icc_profile")
    # White, because most cut-outs are made for it, and a model of photographs knows it well.
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(_plain(colours), mask=alpha)
    return canvas, alpha


def to_weight(image: Image.Image) -> Image.Image:
    """A mask as L; what is transparent in it counts as black."""
    image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("L")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", rgba.size)
    canvas.paste(rgba, mask=rgba.getchannel("A"))
    return canvas.convert("L")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 16 bits or more to 8; Pillow's own conversion clips it at 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    grey = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
    low, high = float(grey.min()), float(grey.max())
    # I is 16 bits in practice. Where it is more, and for floats, nothing says what white is: take the extremes.
    if image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0, 65535
    return Image.fromarray(((grey - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8))


def _plain(image: Image.Image) -> Image.Image:
    image = _in_srgb(image, image.info.get("icc_profile"))
    # No copy of what is RGB already: a large picture takes half a gigabyte.
    image = image if image.mode == "RGB" else image.convert("RGB")
    image.info = {}
    return image


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The same colours by numbers of sRGB, which is what models have seen. A profile that is broken says nothing."""
    if not profile:
        return image
    coloured = image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # Most files carry it, and the way through the colour engine costs rounding.
        if ImageCms.getProfileDescription(source).startswith("sRGB") and _changes_little(source):
            return image
        return _converted(coloured, source)
    except (ImageCms.PyCMSError, OSError):
        return image


def _converted(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    intent, black = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    return ImageCms.profileToProfile(image, source, SRGB, intent, "RGB", flags=black) or image


def _changes_little(source: ImageCms.ImageCmsProfile) -> bool:
    """Whether a profile is sRGB but for rounding: there are linear ones that are called so too."""
    grey = np.arange(256, dtype=np.uint8)
    levels = np.stack([grey[:, None] * np.array(channels, np.uint8) for channels in RAMPS])
    difference = np.asarray(_converted(Image.fromarray(levels), source)).astype(int) - levels
    return int(np.abs(difference).max()) <= MAX_SRGB_ERROR
