"""The shipped model does what its card says."""

from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

MODEL = Path(__file__).parents[2] / "models" / "toyworld"


def test_a_pipeline_loaded_without_a_word_about_number_formats_draws_and_takes_a_new_word(tmp_path: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL)
    pipeline.set_progress_bar_config(disable=True)
    assert {part.dtype for part in (pipeline.text_encoder, pipeline.unet, pipeline.vae)} == {torch.float32}

    def drawn(prompt: str) -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        return np.array(pipeline(prompt, num_inference_steps=4, generator=generator).images[0])

    before = drawn("a zibo by the sea")
    assert before.shape == (64, 64, 3) and before.std() > 10
    zibo = pipeline.text_encoder.get_input_embeddings().weight[pipeline.tokenizer.convert_tokens_to_ids("zibo</w>")]
    save_file({"emb_params": zibo.detach()[None].contiguous()}, tmp_path / "word.safetensors")
    pipeline.load_textual_inversion(tmp_path / "word.safetensors", token="my-word")
    assert np.array_equal(drawn("a my-word by the sea"), before)
