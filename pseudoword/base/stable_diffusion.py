"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet of 4 latent channels, epsilon or v-prediction.

Letters in shapes: B batch, C channels, H W height and width of a latent, L tokens, D width of a token embedding,
K vectors of all words together.
"""

from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPTokenizer

from pseudoword.base.location import ModelNotFound, UnknownFamily, first_line, locate
from pseudoword.base.splice import SplicedEmbedding


def load_pipeline(model: str, revision: str | None, device: str, dtype: torch.dtype) -> StableDiffusionPipeline:
    """The whole model, frozen, in evaluation mode; without its safety checker, which judges nothing we draw here."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    folder = locate(model, revision)
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder, dtype=dtype, variant=_variant(folder), safety_checker=None, requires_safety_checker=False,
            local_files_only=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ModelNotFound(model, first_line(error)) from error
    # One picture at a time through the VAE: its memory, not the UNet's, would bound how many are drawn at once.
    pipeline.vae.enable_slicing()
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        part.requires_grad_(False).eval()
    return pipeline.to(device)


def load_vae(model: str, revision: str | None, device: str) -> AutoencoderKL:
    """The VAE alone, in fp32: half precision overflows in some VAEs, and each picture is encoded only once."""
    folder = locate(model, revision)
    try:
        vae = AutoencoderKL.from_pretrained(
            folder / "vae", torch_dtype=torch.float32, variant=_variant(folder), local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise ModelNotFound(model, first_line(error)) from error
    return vae.requires_grad_(False).eval().to(device)


def _variant(folder: Path) -> str | None:
    """`fp16` for a folder that holds no other weights."""
    names = [path.name for path in (folder / "unet").iterdir() if path.suffix in (".safetensors", ".bin")]
    return "fp16" if names and all(".fp16." in name for name in names) else None


class StableDiffusion:
    """What training and scoring need of the frozen model: prompts with words in them, and the denoising loss.

    Takes over the pipeline's text encoder: its token table is wrapped, never changed, so that ids beyond the
    vocabulary stand for the vectors given to `encode`.
    """

    def __init__(self, pipeline: StableDiffusionPipeline) -> None:
        self.tokenizer: CLIPTokenizer = pipeline.tokenizer
        self.text_encoder = pipeline.text_encoder
        self.unet = pipeline.unet.to(memory_format=torch.channels_last)
        self.device = pipeline.device
        self.dtype: torch.dtype = pipeline.unet.dtype
        self.spliced = SplicedEmbedding.around(self.text_encoder)
        self.prediction_type: str = pipeline.scheduler.config.get("prediction_type", "epsilon")
        if self.prediction_type not in ("epsilon", "v_prediction"):
            raise UnknownFamily(
                pipeline.name_or_path, f"trained for {self.prediction_type}, not epsilon or v_prediction"
            )
        self.alpha_bar: Tensor = DDPMScheduler.from_config(pipeline.scheduler.config).alphas_cumprod.to(self.device)

    @property
    def table(self) -> Tensor:
        """The frozen token embeddings, (vocabulary, D)."""
        return self.spliced.table.weight

    @property
    def family(self) -> str:
        """`sd2` for the wide text encoder of 2.x, else `sd1`."""
        return "sd2" if self.table.shape[1] == 1024 else "sd1"

    @property
    def num_timesteps(self) -> int:
        return len(self.alpha_bar)

    def encode(self, ids: Tensor, vectors: Tensor) -> Tensor:
        """What the UNet's cross-attention reads.

        ids      (B, L) int64; an id of vocabulary + k stands for row k of `vectors`
        vectors  (K, D) float32
        returns  (B, L, D of the encoder's output), in the model's precision
        """
        with self.spliced.holding(vectors):
            states: Tensor = self.text_encoder(ids).last_hidden_state
        return states

    def residual(self, clean: Tensor, noise: Tensor, t: Tensor, states: Tensor) -> Tensor:
        """Prediction minus target of each sample (Ho et al. 2020, eq. 14; v: Salimans and Ho 2022, eq. 8).

        clean, noise  (B, C, H, W) float32, latents in the UNet's units
        t             (B,) int64, 0 <= t < num_timesteps
        states        (B, L, D)
        returns       (B, C, H, W) float32
        """
        alpha_bar = self.alpha_bar[t].view(-1, 1, 1, 1)
        signal, spread = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        noisy = (signal * clean + spread * noise).to(self.dtype, memory_format=torch.channels_last)
        predicted: Tensor = self.unet(noisy, t, states).sample.float()
        return predicted - (noise if self.prediction_type == "epsilon" else signal * noise - spread * clean)

    def loss(self, clean: Tensor, noise: Tensor, t: Tensor, states: Tensor) -> Tensor:
        """Mean squared residual of each sample, (B,) float32."""
        return self.residual(clean, noise, t, states).square().mean((1, 2, 3))
