"""The table of tools in docs/files.md: each tool's rule, held against the files that are written."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pseudoword.formats.embedding import Embedding
from pseudoword.formats.keys import Key
from pseudoword.formats.reading import read_embedding
from pseudoword.formats.writing import write_embedding
from tests.tiny import tiny_stable_diffusion

PAGE = Path(__file__).parents[3] / "docs/files.md"
SD = Embedding("snorf", torch.randn(3, 768, generator=torch.Generator().manual_seed(0)), {})
SDXL = Embedding("snorf", SD.vectors, {}, torch.randn(3, 1280, generator=torch.Generator().manual_seed(1)))
INVOKE_KEYS = ("string_to_token", "emb_params", "clip_g")  # behind which it knows where the width is
INVOKE_WIDTHS = {768, 1024, 1280}

Content = Mapping[str, object]


def only_tensor(content: Content) -> bool:
    """One tensor under any key, SDXL's two, or A1111's dict: what most tools take."""
    return "string_to_param" in content or set(content) == {"clip_l", "clip_g"} or len(content) == 1


def sd_next(content: Content) -> bool:
    """Of pickles A1111's dict alone."""
    return "string_to_param" in content or isinstance(content, SafeTensors)


def invoke_ai(content: Content) -> bool:
    """The width tells the family: the last side behind a known key, else the first side of the first tensor."""
    if known := [key for key in INVOKE_KEYS if key in content]:
        value = content[known[0]]
        return not isinstance(value, Tensor) or value.shape[-1] in INVOKE_WIDTHS
    first = next(iter(content.values()))
    return isinstance(first, Tensor) and first.shape[0] in INVOKE_WIDTHS


def one_trainer(content: Content) -> bool:
    return "emp_params" in content or set(content) == {"clip_l", "clip_g"}


def diffusers(content: Content) -> str:
    if set(content) == {"clip_l", "clip_g"}:
        return "in parts"
    return "yes" if content.get("name") == "snorf" or set(content) == {"snorf"} else "with `token=`"


class SafeTensors(dict[str, object]):
    """The content of a safetensors file, which SD.Next tells from a pickle's."""


RULES: dict[str, Callable[[Content], bool | str]] = {
    "A1111, Forge": only_tensor,
    "ComfyUI": only_tensor,
    "diffusers": diffusers,
    "kohya sd-scripts": only_tensor,
    "SD.Next, diffusers backend": sd_next,
    "InvokeAI": invoke_ai,
    "OneTrainer, to go on from it": one_trainer,
}


def table() -> list[tuple[str, str, str]]:
    """(tool, file, answer) of every cell."""
    section = PAGE.read_text().split("## Which tool reads which file")[1].split("\n## ")[0]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    return [(row[0], file, answer) for row in rows for file, answer in zip(head[1:], row[1:], strict=True)]


def written(file: str, folder: Path) -> Content:
    """What a tool finds in the file that a column's head names."""
    suffix, of = file.split(" ")[0], SDXL if "SDXL" in file else SD
    key: Key = "word"
    if named := re.search(r"\((\w+)\)", file):
        (key,) = (key for key in get_args(Key) if key == named[1])
    path = folder / f"snorf{suffix}"
    write_embedding(path, of, key=key)
    if suffix == ".safetensors":
        return SafeTensors(load_file(path))
    content: dict[str, object] = torch.load(path, weights_only=True)
    return content


def test_the_table_has_every_tool_and_every_key() -> None:
    assert {tool for tool, _, _ in table()} == set(RULES)
    files = {file for _, file, _ in table()}
    assert {f"{suffix} SD ({key})" for suffix in (".safetensors", ".bin") for key in get_args(Key)} < files


@pytest.mark.parametrize(("tool", "file", "answer"), [cell for cell in table() if cell[1] != ".png"])
def test_a_tool_reads_the_file_as_the_table_says(tool: str, file: str, answer: str, tmp_path: Path) -> None:
    found = RULES[tool](written(file, tmp_path))
    assert answer == (found if isinstance(found, str) else "yes" if found else "no")


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("key", ["emb_params", "emp_params"])
def test_another_key_is_read_back_as_the_word_of_the_files_name(suffix: str, key: Key, tmp_path: Path) -> None:
    path = tmp_path / f"snorf{suffix}"
    write_embedding(path, SD, key=key)
    read = read_embedding(path)
    assert read.name == "snorf" and torch.equal(read.vectors, SD.vectors)


def test_diffusers_takes_the_other_keys_with_a_token(tmp_path: Path) -> None:
    pipeline, path = tiny_stable_diffusion(), tmp_path / "snorf.safetensors"
    embedding = Embedding("snorf", torch.randn(2, 16), {})
    write_embedding(path, embedding, key="emb_params")
    pipeline.load_textual_inversion(str(path), token="snorf")
    ids = pipeline.tokenizer.convert_tokens_to_ids(["snorf", "snorf_1"])
    assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[ids], embedding.vectors)
