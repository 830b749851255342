"""What is measured of each drawn picture: a file for each measure, and its name in MEASURES. That is all one needs to
add: tables and log go by the list."""

from stages.evaluate.measures.blank import BLANK
from stages.evaluate.measures.image_similarity import IMAGE_SIMILARITY
from stages.evaluate.measures.text_similarity import TEXT_SIMILARITY

MEASURES = (IMAGE_SIMILARITY, TEXT_SIMILARITY, BLANK)
