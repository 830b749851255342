"""Section evaluate."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from pseudoword.settings.fields import BY_KIND, InferenceSteps, PositiveInt, PromptFile, Section
from pseudoword.settings.word import InitFileName
from pseudoword.templates import Prompts


def _each_once(values: Any) -> Any:
    """The same again has the same noise: it would draw the same pictures, and count them as further evidence."""
    named = list(values.lines) if isinstance(values, Prompts) else [str(value) for value in values]
    if again := next((name for i, name in enumerate(named) if name in named[:i]), None):
        raise ValueError(f"each of them once; '{again}' is there {named.count(again)} times")
    return values


class EvaluateSettings(Section):
    prompts: Annotated[PromptFile, AfterValidator(_each_once)] = Field(
        default=BY_KIND,
        description="One prompt a line, each with [name]; every checkpoint is drawn with all of them. auto: by "
        "word.kind.",
    )
    seeds: PositiveInt = Field(2, description="Pictures for each prompt, each from its own noise.")
    also_on: Annotated[list[Annotated[str, Field(strict=True, min_length=1)]], AfterValidator(_each_once)] = Field(
        [], description="Further base models of the same family, by folder or hub id, to see how far the word carries."
    )
    together_with: Annotated[list[InitFileName], AfterValidator(_each_once)] = Field(
        [], description="Embedding files in data/embeddings whose words are tried beside this one, one at a time."
    )
    strengths: Annotated[
        list[Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]], AfterValidator(_each_once)
    ] = Field([], description="Of a hypernetwork, at which it is drawn besides 1.")
    timesteps: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        8, description="Noise levels of the deterministic loss."
    )
    shortlist: Annotated[int, Field(strict=True, ge=2)] = Field(
        8, description="Checkpoints of each run that are drawn."
    )
    inference_steps: InferenceSteps = Field(20, description="Sampling steps (DPM++ 2M).")
    guidance: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] = Field(
        3.0, description="Classifier-free guidance."
    )
