"""Where the stages from `train` on leave what they make, below the folder that they run in."""

from pathlib import Path

WORDS = Path("outputs/words")
TRAINING = Path("outputs/training")
EVALUATION = Path("outputs/evaluation")
SCORES, METRICS, CHOICE = EVALUATION / "scores.csv", EVALUATION / "metrics.json", EVALUATION / "choice.json"
SHEETS = EVALUATION / "sheets"
DRAWN = SHEETS / "pictures.csv"
EMBEDDING = Path("outputs/embedding")
