"""What the tests of the preprocess stage share: a project with a folder of pictures, and a run of the stage on it."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pseudoword.pictures.prepared import open_pictures
from stages.preprocess.__main__ import main
from tests.project import shipped_params, write_checked

ROOT = Path(__file__).parents[1]
FOLDER = Path("data/thing")


def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)
    write_params()
    return tmp_path


def write_params(resolution: int | str = 32, model: str | None = None, **wanted: Any) -> None:
    """params.yaml as shipped, but for these; a dict changes keys of a nested section."""
    content = shipped_params()
    content["data"]["folder"] = str(FOLDER)
    for key, value in {"resolution": resolution, **wanted}.items():
        section = content["preprocess"]
        section[key] = section[key] | value if isinstance(value, dict) else value
    content["base"]["model"] = model or content["base"]["model"]
    write_checked(content)


def write_model(sample_size: int, vae_levels: int = 4, unet_levels: int = 4) -> str:
    """The configs of a model, all that the stage reads of one; its folder."""
    configs: dict[str, dict[str, Any]] = {
        "model_index.json": {"_class_name": "StableDiffusionPipeline"},
        "unet/config.json": {"in_channels": 4, "sample_size": sample_size, "block_out_channels": [4] * unet_levels},
        "vae/config.json": {"block_out_channels": [4] * vae_levels},
    }
    for name, content in configs.items():
        path = Path("model", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return "model"


def fill(files: dict[str, bytes]) -> None:
    shutil.rmtree(FOLDER)
    FOLDER.mkdir()
    for name, content in files.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_bytes(content)


def run() -> pd.DataFrame:
    """Run the stage; its table by source name, all text."""
    main()
    return pd.read_csv("outputs/pictures.csv", dtype=str, keep_default_na=False).set_index("source")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(picture: str) -> np.ndarray:
    return np.asarray(open_pictures([picture])[0]).astype(int)
