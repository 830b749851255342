"""Where stages leave what they make, below the folder that they run in."""

from pathlib import Path

PICTURES, PICTURES_TABLE = Path("outputs/pictures"), Path("outputs/pictures.csv")
WORDS = Path("outputs/words")
TRAINING = Path("outputs/training")
EVALUATION = Path("outputs/evaluation")
LOSSES, DRAWN, SHEETS = EVALUATION / "losses.csv", EVALUATION / "pictures.csv", EVALUATION / "sheets"
JUDGED = Path("outputs/judged")
MEASURED, JUDGES = JUDGED / "pictures.csv", JUDGED / "judges.json"
CHOSEN = Path("outputs/choice")
CHOICE, SCORES, METRICS = CHOSEN / "choice.json", CHOSEN / "scores.csv", CHOSEN / "metrics.json"
CHOSEN_SHEET = CHOSEN / "chosen.png"
EMBEDDING = Path("outputs/embedding")
