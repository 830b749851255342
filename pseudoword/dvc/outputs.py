"""What DVC still has of the outputs that it deleted before a stage ran."""

from dvc.repo import Repo


def can_be_brought_back(stage: str) -> bool:
    """Whether outputs of the stage are gone that `dvc checkout <stage>` would bring back whole.

    False where that cannot be told: whoever asks has something worse to say.
    """
    try:
        with Repo() as repo:
            recorded = repo.stage.load_one("dvc.yaml", stage)
            gone = [out for out in recorded.outs if not out.exists]
            return bool(gone) and not recorded.always_changed and not any(out.changed_cache() for out in gone)
    except Exception:
        return False
