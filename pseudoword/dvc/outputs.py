"""What DVC still has of the outputs that it deleted before a stage ran."""

from dvc.repo import Repo


def way_back(stage: str) -> str | None:
    """The command that brings back what the stage made when it last ended well; None where that is not all kept.

    For a stage that DVC runs, so that whatever lies in place of its outputs is of this run.
    """
    with Repo() as repo:
        recorded = repo.stage.load_one("dvc.yaml", stage)
        if recorded.always_changed or any(out.changed_cache() for out in recorded.outs):
            return None
        # DVC takes away a file that it does not have only where it is told to.
        unfinished = any(True for out in recorded.outs for _ in repo.fs.find(out.fs_path))
    return f"dvc checkout {'--force ' if unfinished else ''}{stage}"
