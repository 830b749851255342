"""From a picture of any shape to a square."""

from PIL import Image, ImageOps


def centre_square(image: Image.Image, side: int) -> Image.Image:
    """Resize so that the square of `side` px is just covered, and keep its centre."""
    return ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
