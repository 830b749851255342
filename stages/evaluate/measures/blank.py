"""Pictures of one colour: what a word draws that broke the model."""

import numpy as np
from PIL import Image

from stages.evaluate.measures.measure import Floats, Measure

MIN_DEVIATION = 4.0  # standard deviation of the pixels in the channel where it is largest, of 255


def blank(pictures: list[Image.Image]) -> Floats:
    """1 for a picture of one colour, else 0."""
    return np.array([float(np.asarray(picture).std((0, 1)).max() < MIN_DEVIATION) for picture in pictures])


BLANK = Measure("blank", ("pictures",), False, blank)
