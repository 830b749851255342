"""How the files of a word are used, to be printed."""

from pathlib import Path

from pseudoword.formats.embedding import Embedding
from pseudoword.formats.keys import Key
from pseudoword.formats.writing import KEYED
from pseudoword.hypernetwork import Hypernetwork

FOR_DIFFUSERS = (".safetensors", ".bin", ".pt")  # best first


def how_to_use(files: list[Path], word: str, embedding: Embedding, key: Key = "word") -> str:
    """Lines for each tool that can read one of `files`, which are all of the same word; `key` as they were written."""
    num_vectors, width = embedding.vectors.shape
    second = "" if embedding.vectors_g is None else f" and {embedding.vectors_g.shape[1]}"
    lines = [
        f"{', '.join(map(str, files))}: {num_vectors} {'vector' if num_vectors == 1 else 'vectors'} "
        f"of {width}{second} numbers"
    ]
    readable = [path for suffix in FOR_DIFFUSERS for path in files if path.suffix == suffix]
    if readable:
        lines += diffusers_lines(readable[0], word, embedding.vectors_g is not None, key)
    lines.append(
        f"A1111:      copy one of the files to embeddings/, then write {word} in the prompt; the file's name is the "
        "trigger"
    )
    if readable:
        lines.append(f"ComfyUI:    copy {readable[0].name} to models/embeddings/, then write embedding:{word}")
    if num_vectors > 1:
        lines.append(
            f"One {word} stands for all {num_vectors} vectors and takes {num_vectors} of a prompt's 75 tokens. "
            f"diffusers names them {word}, {word}_1, ... and expands {word} by itself; do not write the others."
        )
    return "\n".join(lines)


def how_to_use_hypernetwork(files: list[Path], hypernetwork: Hypernetwork) -> str:
    """Lines for each tool that can read one of `files`."""
    name, structure = hypernetwork.name, hypernetwork.structure
    lines = [f"{', '.join(map(str, files))}: a hypernetwork of {structure.count(hypernetwork.widths):,} numbers"]
    if any(path.suffix == ".pt" for path in files):
        lines += [
            f"A1111:      copy {name}.pt to models/hypernetworks/ and keep its name, then write <hypernet:{name}:1> in "
            "the prompt; 1 is its strength",
            f"ComfyUI:    copy {name}.pt to models/hypernetworks/ and put the node HypernetworkLoader behind the model",
        ]
    told = structure.told_of_comfyui()
    return "\n".join([*lines, *([f"warning: {told}"] if told else [])])


def diffusers_lines(file: Path, word: str, sdxl: bool, key: Key = "word") -> list[str]:
    """Each text encoder of SDXL is given its own part; diffusers does not split the file by itself."""
    if not sdxl:
        # Of a .pt it takes the name that stands in it.
        token = f', token="{word}"' if key != "word" and file.suffix in KEYED else ""
        return [f'diffusers:  pipe.load_textual_inversion("{file}"{token}), then write {word} in the prompt']
    if file.suffix == ".safetensors":
        read = f'safetensors.torch.load_file("{file}")'
    else:
        read = f'torch.load("{file}", weights_only=True)'
    return [
        f"diffusers:  parts = {read}",
        *(
            f'            pipe.load_textual_inversion(parts["{key}"], token="{word}", '
            f"text_encoder=pipe.text_encoder{end}, tokenizer=pipe.tokenizer{end})"
            for key, end in (("clip_l", ""), ("clip_g", "_2"))
        ),
    ]
