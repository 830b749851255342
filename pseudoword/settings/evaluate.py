"""Section evaluate."""

from typing import Annotated

from pydantic import Field

from pseudoword.settings.fields import BY_KIND, InferenceSteps, PositiveInt, PromptFile, Section


class Evaluate(Section):
    prompts: PromptFile = Field(
        default=BY_KIND,
        description="One prompt a line, each with [name]; every checkpoint is drawn with all of them. auto: by "
        "word.kind.",
    )
    seeds: PositiveInt = Field(2, description="Pictures for each prompt, each from its own noise.")
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
