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


def checkpoint_file(run: str, word: str, step: int) -> Path:
    """Where a run leaves what it had learned after `step` updates, below `WORDS`."""
    return Path(run, "steps", f"{word}-{step}.safetensors")


def checkpoint_files(run: Path) -> dict[int, Path]:
    """The checkpoints in the folder of a run by their updates, the earliest first."""
    ends = [(path.stem.rpartition("-")[2], path) for path in run.glob("steps/*-*.safetensors")]
    return dict(sorted((int(end), path) for end, path in ends if end.isdecimal()))


def checkpoint_word(path: Path) -> str:
    """The word that a checkpoint's file is named by."""
    return path.stem.rpartition("-")[0]
