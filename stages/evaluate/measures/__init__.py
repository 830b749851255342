"""The measures of drawn pictures, one file each; tables and log go by MEASURES: a new one is a file and one name."""

from stages.evaluate.measures.blank import BLANK
from stages.evaluate.measures.image_similarity import IMAGE_SIMILARITY
from stages.evaluate.measures.text_similarity import TEXT_SIMILARITY

MEASURES = (IMAGE_SIMILARITY, TEXT_SIMILARITY, BLANK)
