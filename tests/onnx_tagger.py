"""Small taggers as ONNX files: one that knows the drawn world by toyworld's judge, and others that know nothing."""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from onnx import GraphProto, TensorProto, helper, load, numpy_helper, save
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from toyworld.world import COLOURS, SCENES

JUDGE = Path(__file__).parents[1] / "models" / "toyworld" / "judge"
RATINGS = {"general": 0.9, "explicit": 0.02}
CHARACTERS = {"zora_(toyworld)": 0.5}
# in_the_snow, by_the_sea, ..., red, blue, ...
SCENE_TAGS = {scene.phrase.replace(" ", "_"): word for word, scene in SCENES.items()}
ROWS = [(9, name) for name in RATINGS] + [(0, name) for name in (*SCENE_TAGS, *COLOURS)] + [(4, c) for c in CHARACTERS]


class WorldTagger(torch.nn.Module):
    """Which of its texts the judge finds in a picture: one scene, one colour. The other tags have fixed scores."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = CLIPModel.from_pretrained(JUDGE, dtype=torch.float32)
        self.groups = [
            self._features([f"a star {scene.phrase}" for scene in SCENES.values()]),
            self._features(list(COLOURS)),
        ]
        self.fixed = [torch.tensor([list(scores.values())]) for scores in (RATINGS, CHARACTERS)]

    @torch.no_grad()
    def _features(self, texts: list[str]) -> Tensor:
        inputs = CLIPProcessor.from_pretrained(JUDGE)(text=texts, padding=True, return_tensors="pt")
        return torch.nn.functional.normalize(self.judge.get_text_features(**inputs).pooler_output, dim=-1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(1, 64, 64, 3) in [0, 1] -> (1, N) in [0, 1]."""
        seen = self.judge.vision_model((pixels * 2 - 1).permute(0, 3, 1, 2)).pooler_output
        seen = torch.nn.functional.normalize(self.judge.visual_projection(seen), dim=-1) * self.judge.logit_scale.exp()
        found = [(seen @ texts.T).softmax(-1) for texts in self.groups]
        return torch.cat([self.fixed[0], *found, self.fixed[1]], dim=-1)


def save_world_taggers(deepdanbooru: Path, wd14: Path) -> None:
    """The same model in two folders: one takes red first, 0 to 1, the other blue first, 0 to 255."""
    deepdanbooru.mkdir()
    wd14.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter uses what torch deprecates
        model, picture = WorldTagger().eval(), (torch.zeros(1, 64, 64, 3),)
        torch.onnx.export(model, picture, deepdanbooru / "model.onnx", verbose=False, input_names=["pixels"])
    names = [f"rating:{name}" if category == 9 else name for category, name in ROWS]
    (deepdanbooru / "tags.txt").write_text("\n".join(names) + "\n")
    (deepdanbooru / "tags-character.txt").write_text("\n".join(CHARACTERS) + "\n")
    exported = load(deepdanbooru / "model.onnx")
    _take_blue_first(exported.graph)
    save(exported, wd14 / "model.onnx")
    save_selected_tags(wd14, ROWS)


def _take_blue_first(graph: GraphProto) -> None:
    constants = {"order": np.array([2, 1, 0]), "unit": np.array(1 / 255, np.float32)}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.node.insert(0, helper.make_node("Gather", ["bgr", "order"], ["rgb"], axis=3))
    graph.node.insert(1, helper.make_node("Mul", ["rgb", "unit"], ["pixels"]))
    graph.input[0].name = "bgr"


def save_selected_tags(folder: Path, rows: Sequence[tuple[int, str]]) -> None:
    with (folder / "selected_tags.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tag_id", "name", "category", "count"])
        writer.writerows([at, name, category, 1000 - at] for at, (category, name) in enumerate(rows))


def save_blind_tagger(
    folder: Path,
    scores: Sequence[float],
    shape: Sequence[int | str | None] = (None, 8, 8, 3),
    kind: int = TensorProto.FLOAT,
    external: str | None = None,
) -> None:
    """A tagger that gives the same scores for every picture of `shape`; `external` is where it says its data lie."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = helper.make_tensor_value_info("picture", kind, shape)
    found = helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, len(scores)])
    value = helper.make_tensor("value", TensorProto.FLOAT, [1, len(scores)], scores)
    if external is not None:
        value.ClearField("float_data")
        value.data_location = TensorProto.EXTERNAL
        value.external_data.add(key="location", value=external)
    node = helper.make_node("Identity", ["value"], ["found"])
    graph = helper.make_graph([node], "blind", [picture], [found], [value])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
