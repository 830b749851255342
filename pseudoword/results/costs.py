"""What a run costs, counted so that it is the same on every machine and each time, unlike seconds.

The unit is a pass: one latent with one prompt through the UNet. One of training goes forth and back, and so takes about
as long as two others.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """The passes of a run to its end, by what they were for."""

    trained: int  # as many as the samples that it saw
    scored: int  # of the deterministic loss: each checkpoint with each picture at each noise level
    drawn: int  # of the sampler; with guidance two for each of its steps

    @property
    def passes(self) -> int:
        return self.trained + self.scored + self.drawn


def cost_of(
    samples: int, checkpoints: int, learned_from: int, noise_levels: int, drawn: int, inference_steps: int,
    guidance: float,
) -> Cost:  # fmt: skip
    """samples       that the run saw to its end
    checkpoints   that were scored, on `learned_from` pictures at so many noise levels
    drawn         pictures of its checkpoints; the controls, which all runs share, take no part
    """
    of_a_step = 2 if guidance > 1 else 1
    return Cost(samples, checkpoints * learned_from * noise_levels, drawn * inference_steps * of_a_step)
