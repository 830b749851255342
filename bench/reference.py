"""The usual textual-inversion loop, to measure against: what diffusers' example does at each step, in our own words.

The whole token table is the trained parameter, with weight decay; after each step the other rows are copied back. The
VAE encodes the pictures of each step, read from their files; a template is drawn and tokenised for each; the text
encoder stays in float32 and in training mode; the loss is read back at each step.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from PIL import Image
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset

WORD = "<snorf>"
LEARN_RATE = 5e-4
TEMPLATES = [
    "a photo of a {}",
    "a picture of the {}",
    "a close view of a {}",
    "a drawing of a {}",
    "the {} in daylight",
]
STYLE_TEMPLATES = [
    "a painting in the style of {}",
    "a picture in the style of {}",
    "a drawing in the style of {}",
    "a photo in the style of {}",
    "a close view in the style of {}",
]


class Pictures(Dataset[dict[str, Tensor]]):
    """Pixels (3, H, W) in [-1, 1] of a picture, and the ids (L,) of a prompt for each tokenizer."""

    def __init__(self, files: list[Path], resolution: int, tokenizers: list[Any], templates: list[str]) -> None:
        self.files, self.resolution, self.tokenizers, self.templates = files * 100, resolution, tokenizers, templates

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> dict[str, Tensor]:
        prompt = random.choice(self.templates).format(WORD)
        image = Image.open(self.files[at]).convert("RGB")
        image = image.resize((self.resolution, self.resolution), Image.Resampling.BICUBIC)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.asarray(image, np.float32) / 127.5 - 1).permute(2, 0, 1)
        ids = {
            f"ids{place}": tokenizer(
                prompt, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
            ).input_ids[0]
            for place, tokenizer in enumerate(self.tokenizers)
        }
        return {"pixels": pixels, **ids}


class Reference:
    """One run of `batch` pictures a step. Takes over the pipeline."""

    def __init__(
        self, pipeline: Any, files: list[Path], resolution: int, batch: int, templates: list[str] = TEMPLATES,
        initializer: str | None = None, learn_rate: float = LEARN_RATE,
    ) -> None:  # fmt: skip
        """initializer  a word of one token that the new one starts from; None: random numbers"""
        self.unet, self.vae, self.noise = (
            pipeline.unet,
            pipeline.vae,
            DDPMScheduler.from_config(pipeline.scheduler.config),
        )
        self.device, self.dtype = self.unet.device, self.unet.dtype
        self.xl = hasattr(pipeline, "text_encoder_2")
        names = ("", "_2") if self.xl else ("",)
        self.tokenizers = [getattr(pipeline, f"tokenizer{name}") for name in names]
        self.encoders = [getattr(pipeline, f"text_encoder{name}") for name in names]
        for tokenizer, encoder in zip(self.tokenizers, self.encoders, strict=True):
            tokenizer.add_tokens([WORD])
            rows = max(len(tokenizer), encoder.get_input_embeddings().num_embeddings)
            encoder.resize_token_embeddings(rows, mean_resizing=False)
            encoder.float().train()
            encoder.get_input_embeddings().requires_grad_(True)
        self.tables = [encoder.get_input_embeddings().weight for encoder in self.encoders]
        if initializer is not None:
            for tokenizer, table in zip(self.tokenizers, self.tables, strict=True):
                (start,) = tokenizer(initializer, add_special_tokens=False).input_ids
                with torch.no_grad():
                    table[tokenizer.convert_tokens_to_ids(WORD)] = table[start]
        self.originals = [table.detach().clone() for table in self.tables]
        self.optimizer = torch.optim.AdamW(self.tables, lr=learn_rate, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
        data = Pictures(files, resolution, self.tokenizers, templates)
        self.batches = self._endless(DataLoader(data, batch_size=batch, shuffle=True, drop_last=True))
        self.time_ids = torch.tensor([[resolution, resolution, 0, 0, resolution, resolution]], device=self.device)
        self.losses: list[float] = []

    def vectors(self) -> Tensor:
        """(1, sum of widths) of the word."""
        places = [tokenizer.convert_tokens_to_ids(WORD) for tokenizer in self.tokenizers]
        rows = [table[place] for table, place in zip(self.tables, places, strict=True)]
        return torch.cat(rows).detach().clone()[None]

    @staticmethod
    def _endless(loader: DataLoader[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        while True:
            yield from loader

    def advance(self, updates: int) -> None:
        for _ in range(updates):
            self._update(next(self.batches))

    def _update(self, batch: dict[str, Tensor]) -> None:
        with torch.no_grad():
            posterior = self.vae.encode(batch["pixels"].to(self.device, self.dtype)).latent_dist
            latents = posterior.sample() * self.vae.config.scaling_factor
        noise = torch.randn_like(latents)
        t = torch.randint(0, self.noise.config.num_train_timesteps, (len(latents),), device=self.device).long()
        predicted = self._predict(self.noise.add_noise(latents, noise, t), t, batch)
        velocity = self.noise.config.prediction_type == "v_prediction"
        target = self.noise.get_velocity(latents, noise, t) if velocity else noise
        loss = mse_loss(predicted.float(), target.float())
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for tokenizer, table, original in zip(self.tokenizers, self.tables, self.originals, strict=True):
                others = torch.ones(len(table), dtype=torch.bool)
                others[tokenizer.convert_tokens_to_ids(WORD)] = False
                table[others] = original[others]
        self.losses.append(loss.detach().item())

    def _predict(self, noisy: Tensor, t: Tensor, batch: dict[str, Tensor]) -> Tensor:
        ids = [batch[f"ids{place}"].to(self.device) for place in range(len(self.encoders))]
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            answers = [e(i, output_hidden_states=self.xl) for e, i in zip(self.encoders, ids, strict=True)]
        if not self.xl:
            return self.unet(noisy, t, answers[0][0].to(self.dtype)).sample  # type: ignore[no-any-return]
        states = torch.cat([answer.hidden_states[-2] for answer in answers], -1).to(self.dtype)
        added = {
            "text_embeds": answers[1].text_embeds.to(self.dtype),
            "time_ids": self.time_ids.expand(len(noisy), -1).to(self.dtype),
        }
        return self.unet(noisy, t, states, added_cond_kwargs=added).sample  # type: ignore[no-any-return]
