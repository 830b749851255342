"""A frozen base model as the stages use it, whichever its family: prompts with words in them, loss, pictures.

Letters in shapes: B batch, C channels, H W height and width of a latent, E text encoders, W windows of a long prompt,
L tokens of a window, D width of the cross-attention, P of the pooled vector, K vectors of all words together, T steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch._dynamo
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTokenizer, PreTrainedModel

from pseudoword.base.hypernetwork import Hypernetworks, KeysAndValues
from pseudoword.base.sampling import sample, to_pictures
from pseudoword.base.splice import SplicedEmbedding

MAX_LENGTHS = 8  # of the batches of one shape: memory that runs out halves them, again and again
ASIDE = torch.device("cpu")  # where parts lie that are not needed for long


@dataclass(frozen=True)
class Conditioning:
    """The inputs of the UNet besides the noisy latents."""

    states: Tensor  # (B, W x L, D), what the cross-attention reads
    pooled: Tensor | None = None  # (B, P), of families that have it
    mask: Tensor | None = None  # (B, W x L) bool, what is read of several windows; None: all
    hypernetworks: Hypernetworks | None = None  # what changes the keys and values of its attention

    def __getitem__(self, rows: slice | Tensor | list[int]) -> "Conditioning":
        parts = (self.states, self.pooled, self.mask, self.hypernetworks)
        return Conditioning(*(None if part is None else part[rows] for part in parts))  # type: ignore[arg-type]


def stacked(parts: Sequence[Conditioning]) -> Conditioning:
    """The rows of all parts, which are of equal length, through the hypernetworks of the first one."""

    def together(kind: str) -> Tensor | None:
        tensors = [tensor for part in parts if (tensor := getattr(part, kind)) is not None]
        return torch.cat(tensors) if tensors else None

    states = torch.cat([part.states for part in parts])
    return Conditioning(states, together("pooled"), together("mask"), parts[0].hypernetworks)


class Base(ABC):
    """A frozen model. Takes over its text encoders: each token table is wrapped, never changed.

    An id beyond the vocabulary stands for a row of the vectors given to `encode`, the only way in for a gradient.
    """

    family: str  # sd1 | sd2 | sd1-inpainting | sd2-inpainting | sdxl

    def __init__(
        self,
        encoders: dict[PreTrainedModel, CLIPTokenizer],
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        noise: dict[str, Any],
    ) -> None:
        """`noise` is the configuration of the model's scheduler."""
        self.text_encoders = tuple(encoders)
        self.tokenizers: tuple[CLIPTokenizer, ...] = tuple(encoders.values())
        self.spliced = tuple(SplicedEmbedding.around(encoder) for encoder in encoders)
        self.tables: tuple[Tensor, ...] = tuple(spliced.table.weight for spliced in self.spliced)  # (vocabulary, D_e)
        self.widths: tuple[int, ...] = tuple(table.shape[1] for table in self.tables)
        self.unet = unet.to(memory_format=torch.channels_last)
        self.keys_and_values = KeysAndValues(unet)
        self.vae = vae
        self.noise = noise
        self.device: torch.device = unet.device
        self.dtype: torch.dtype = unet.dtype
        self.prediction_type: str = noise.get("prediction_type", "epsilon")
        self.alpha_bar: Tensor = DDPMScheduler.from_config(noise).alphas_cumprod.to(self.device)  # (T,)
        self._nothing: Conditioning | None = None
        self._aside: set[nn.Module] = set()

    @property
    def num_timesteps(self) -> int:
        return len(self.alpha_bar)

    @property
    def pixels(self) -> int:
        """Side in px of the square of a picture that one latent value stands for."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)  # type: ignore[no-any-return]

    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, int, int]:
        """(C, H, W) of the latents of a picture."""
        return self.vae.config.latent_channels, height_px // self.pixels, width_px // self.pixels

    def set_aside(self, *parts: nn.Module) -> None:
        """Leave the device to the rest: what needs one of these parts takes it there for as long as it lasts."""
        self._aside.update(parts)
        for part in parts:
            part.to(ASIDE)

    @contextmanager
    def _on_device(self, *parts: nn.Module) -> Iterator[None]:
        aside = [part for part in parts if part in self._aside]
        for part in aside:
            part.to(self.device)
        try:
            yield
        finally:
            for part in aside:
                part.to(ASIDE)

    def encode(self, ids: Tensor, vectors: Tensor) -> Conditioning:
        """Prompts as the UNet reads them, in the model's precision.

        ids      (B, E, W, L) int64; for encoder e, an id of vocabulary_e + k stands for row k of `vectors`. A window
                 after the first in which the end follows the beginning is filling, and is not read
        vectors  (K, sum of widths) float32, the encoders' vectors side by side
        """
        with self._on_device(*self.text_encoders):
            return self._encode(ids, vectors)

    @abstractmethod
    def _encode(self, ids: Tensor, vectors: Tensor) -> Conditioning: ...

    @abstractmethod
    def predict(self, noisy: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The UNet's answer to noisy latents (B, C, H, W) at t, (B,) or (), in the model's precision."""

    @torch.no_grad()
    def nothing(self) -> Conditioning:
        """The conditioning of no prompt, one row, that guidance leads away from."""
        if self._nothing is None:
            framed = [
                [t.bos_token_id, t.eos_token_id] + [t.pad_token_id] * (t.model_max_length - 2) for t in self.tokenizers
            ]
            ids = torch.tensor(framed, device=self.device)[None, :, None]
            self._nothing = self.encode(ids, torch.empty(0, sum(self.widths), device=self.device))
        return self._nothing

    def residual(self, clean: Tensor, noise: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """Prediction minus target (Ho et al. 2020, eq. 14; v: Salimans and Ho 2022, eq. 8).

        clean, noise  (B, C, H, W) float32, latents in the UNet's units
        t             (B,) int64, 0 <= t < num_timesteps
        returns       (B, C, H, W) float32
        """
        alpha_bar = self.alpha_bar[t].view(-1, 1, 1, 1)
        signal, spread = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        noisy = (signal * clean + spread * noise).to(self.dtype, memory_format=torch.channels_last)
        predicted = self.predict(noisy, t, conditioning).to(noise.dtype)
        target = noise if self.prediction_type == "epsilon" else signal * noise - spread * clean
        return predicted - target

    def loss(self, clean: Tensor, noise: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """Mean square of the residual of each sample, (B,) float32."""
        return self.residual(clean, noise, t, conditioning).square().mean((1, 2, 3))

    def checkpoint_gradients(self, on: bool) -> None:
        """Have the UNet compute its activations again on the way back rather than keep them: less memory, more time."""
        if on:
            self.unet.enable_gradient_checkpointing(self.keys_and_values.checkpointed)
        else:
            self.unet.disable_gradient_checkpointing()

    def compile(self, shapes: int = 1) -> None:
        """Have the UNet compiled at its next use, once for each of so many shapes of latents.

        Compare its gradient before using it.
        """
        # Beyond torch's own limit of 8 it would go on without compiling, and say nothing.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, shapes * MAX_LENGTHS)
        self.unet.compile(dynamic=False)

    @torch.no_grad()
    def draw(
        self, conditioning: Conditioning, negative: Conditioning | None, noise: Tensor, inference_steps: int,
        guidance: float, sampler: str = "dpm++2m",
    ) -> list[Image.Image]:  # fmt: skip
        """A picture for each of the B prompts.

        negative  B rows, or one for all; None: no negative prompt, as the family means it
        noise     (B, C, H, W) float32, standard normal
        guidance  classifier-free; not above 1: the prompt alone
        """
        predict = self._guided(conditioning, negative or self.nothing(), guidance)
        start = noise.to(self.device, self.dtype)
        latents = sample(predict, self.noise, start, inference_steps, sampler)
        scale, shift = self.vae.config.scaling_factor, self.vae.config.get("shift_factor") or 0.0
        with self._on_device(self.vae):
            return to_pictures(self.vae.decode((latents / scale + shift).to(self.vae.dtype)).sample)

    def _guided(
        self, conditioning: Conditioning, negative: Conditioning, guidance: float
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The prediction with classifier-free guidance (Ho and Salimans 2022, eq. 6); hypernetworks change both."""
        number = len(conditioning.states)
        if guidance <= 1:
            return lambda noisy, t: self.predict(noisy, t, conditioning)
        if len(negative.states) == 1:
            negative = negative[[0] * number]
        negative = replace(negative, hypernetworks=conditioning.hypernetworks)
        both = [negative, conditioning]
        if negative.states.shape == conditioning.states.shape:
            both = [_joined(negative, conditioning)]

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            answers = [self.predict(noisy.repeat(len(c.states) // number, 1, 1, 1), t, c) for c in both]
            without, prompted = torch.cat(answers).chunk(2)
            return without + guidance * (prompted - without)

        return predict


def _joined(first: Conditioning, second: Conditioning) -> Conditioning:
    """The rows of both, of equal length and number, through the same hypernetworks."""
    pooled = mask = None
    if first.pooled is not None and second.pooled is not None:
        pooled = torch.cat([first.pooled, second.pooled])
    if first.mask is not None and second.mask is not None:
        mask = torch.cat([first.mask, second.mask])
    hypernetworks = second.hypernetworks and second.hypernetworks.twice()
    return Conditioning(torch.cat([first.states, second.states]), pooled, mask, hypernetworks)
