"""The training loop: what is stopped goes on as if it had not been, and Muon's updates are orthogonal."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from toyworld import training
from toyworld.training import fit, keyed, orthogonalised


class Stopped(Exception):
    pass


def trained(folder: Path, stop_at: int | None, matrix_rate: float | None) -> dict[str, Tensor]:
    """The weights after 12 steps of a small network; `stop_at` is the step at which a first attempt breaks off."""
    folder.mkdir()

    def attempt(last: int | None) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 4, 4))

        def loss(step: int) -> Tensor:
            if step == last:
                raise Stopped
            batch = torch.randn(5, 3, 4, 4, generator=keyed(1, step))
            value: Tensor = (model(batch) - 1).square().mean()
            return value

        fit("test", model, loss, folder / "state.pt", 1e-2, steps=12, matrix_rate=matrix_rate)
        return model.state_dict()

    if stop_at is not None:
        with pytest.raises(Stopped):
            attempt(stop_at)
    return attempt(None)


@pytest.mark.parametrize("matrix_rate", [None, 1e-2])
def test_a_stopped_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, matrix_rate: float | None
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0)
    whole = trained(tmp_path / "whole", None, matrix_rate)
    stopped = trained(tmp_path / "stopped", 7, matrix_rate)
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert not (tmp_path / "stopped" / "state.pt").exists()


@pytest.mark.parametrize("rows, columns", [(16, 144), (96, 16), (32, 32)])
def test_orthogonalised_keeps_the_directions_and_levels_their_lengths(rows: int, columns: int) -> None:
    matrices = torch.randn(3, rows, columns, generator=keyed(2))
    left, lengths, right = torch.linalg.svd(matrices, full_matrices=False)
    levelled = left.mT @ orthogonalised(matrices) @ right.mT
    diagonal = levelled.diagonal(dim1=-2, dim2=-1)
    clear = lengths > 0.05 * lengths[:, :1]
    assert (diagonal[clear] > 0.6).all() and (diagonal[clear] < 1.3).all()
    assert torch.allclose(levelled, torch.diag_embed(diagonal), atol=1e-3)
