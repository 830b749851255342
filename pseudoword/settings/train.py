"""Section train."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from pseudoword.settings.fields import BY_KIND, Auto, InferenceSteps, PositiveInt, PromptFile, ScheduleText, Section

Share = Annotated[float, Field(strict=True, ge=0, le=1)]
BelowOne = Annotated[float, Field(strict=True, ge=0, lt=1)]
NotNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0)]
Steps = Annotated[int, Field(strict=True, ge=1, le=10_000_000)]  # the loss of each is kept
Side = Auto | Annotated[int, Field(strict=True, ge=32, le=4096, multiple_of=8)]


def _with_name(prompt: str) -> str:
    if "[name]" not in prompt:
        raise ValueError("a prompt that holds [name], for the word")
    return prompt


def _two_shares(betas: Any) -> Any:
    # One message in place of one for each number.
    numbers = isinstance(betas, list | tuple) and all(type(beta) in (int, float) and 0 <= beta < 1 for beta in betas)
    if not numbers or len(betas) != 2:
        raise ValueError("two numbers from 0 to below 1, such as [0.9, 0.999]")
    return betas


class EarlyStopSettings(Section):
    """DVAR (Voronov et al. 2023): stop when the deterministic loss has stopped varying."""

    enabled: bool = Field(
        default=False, strict=True, description="End a run when its deterministic loss has levelled out."
    )
    every: PositiveInt = Field(default=5, description="Updates between two looks at the deterministic loss.")
    window: PositiveInt = Field(default=100, description="Updates over which the loss must have levelled out.")
    threshold: Share = Field(
        default=0.15, description="Variance over the window as a share of the variance since the start."
    )
    floor: PositiveInt = Field(default=100, description="No run ends before this step; train.steps is the cap.")


class PreviewSettings(Section):
    """Pictures of the word while it learns; they take part in no training draw."""

    every: Count = Field(default=0, description="Updates between two previews; 0 draws none.")
    prompt: Annotated[str, AfterValidator(_with_name)] | None = Field(
        default=None, description="With [name] for the word. null: the run's first training prompt."
    )
    negative: str = Field(default="", description="What the picture should not show.")
    inference_steps: InferenceSteps = Field(default=20, description="Sampling steps.")
    sampler: Literal["dpm++2m", "dpm++2m-karras", "euler", "ddim"] = Field(
        default="dpm++2m", description="Sampling method."
    )
    guidance: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] = Field(
        default=7.0, description="Classifier-free guidance."
    )
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = Field(
        default=0, description="Same noise for every preview."
    )
    width: Side = Field(default="auto", description="px. auto: what the base model was trained on.")
    height: Side = Field(default="auto", description="px. auto: what the base model was trained on.")
    embed: bool = Field(default=True, strict=True, description="Put the word itself into each PNG, as A1111 does.")


# By key, which settings of another give it something to do.
WORKS_WITH: dict[str, tuple[str, tuple[str, ...]]] = {
    "pull": ("norm", ("direction",)),
    "betas": ("norm", ("rescale", "free")),
    "eps": ("norm", ("rescale", "free")),
    "weight_decay": ("norm", ("rescale", "free")),
    "clip_at": ("clip", ("value", "norm")),
    "huber_delta": ("loss", ("huber",)),
}
# What a hypernetwork does without; it has a rate and a weight decay of its own.
OF_WORDS = ("learn_rate", "weight_decay", "norm", "pull")


class TrainSettings(Section):
    learn: Literal["word", "hypernetwork"] = Field(
        "word",
        description="word: vectors in prompts. hypernetwork: small modules at the keys and values of all attention.",
    )
    template: PromptFile = Field(
        default=BY_KIND,
        description="One prompt a line, with [name] and optionally [filewords]. auto: by word.kind.",
    )
    steps: Auto | Steps = Field("auto", description="Updates of the word. auto: 300 passes over the pictures.")
    batch: Auto | PositiveInt = Field("auto", description="Pictures at once; bounded by memory.")
    accumulation: Auto | PositiveInt = Field(
        "auto", description="Batches per step. auto: enough to see each picture once."
    )
    learn_rate: ScheduleText = Field(
        default="0.01",
        validate_default=True,
        description="One rate, or a schedule 'RATE:END, RATE:END, RATE'; END is the last step at that rate.",
    )
    warm_up: Count = Field(0, description="Updates over which the rate rises from zero.")
    decay: Literal["constant", "cosine"] = Field(
        "constant", description="constant: as learn_rate says. cosine: that, falling to zero along half a cosine."
    )
    weight_decay: NotNegative = Field(0.0, description="AdamW's decay of the vectors towards zero.")
    betas: Annotated[tuple[BelowOne, BelowOne], BeforeValidator(_two_shares)] = Field(
        (0.9, 0.999), description="AdamW's memory of gradient and its square."
    )
    eps: Positive = Field(1e-8, description="AdamW's smallest spread.")
    clip: Literal["none", "value", "norm"] = Field(
        "none", description="value: each number of the gradient; norm: the gradient of all the run's vectors together."
    )
    clip_at: ScheduleText = Field(
        default="0.1", validate_default=True, description="Where to clip: one number, or a schedule as for learn_rate."
    )
    norm: Literal["rescale", "direction", "free"] = Field(
        "rescale",
        description="rescale: hold each vector at the vocabulary's mean norm. direction: that, and learn the direction "
        "alone on the sphere (DTI). free: as the optimiser leaves it.",
    )
    pull: NotNegative = Field(1e-4, description="With norm: direction, the pull towards the init text (DTI's kappa).")
    average: BelowOne = Field(0.0, description="Decay of a moving average (EMA) that is saved in place of the vectors.")
    loss: Literal["mse", "huber"] = Field("mse", description="Of the noise prediction; huber forgives outliers.")
    huber_delta: Positive = Field(0.1, description="With loss: huber, the error above which it grows linearly.")
    min_snr_gamma: Positive | None = Field(
        None, description="Weigh noise levels by min(SNR, gamma) (Hang et al. 2023); 5 is usual. null: all alike."
    )
    noise_offset: NotNegative = Field(0.0, description="Noise that is equal over a whole channel; 0.05 is usual.")
    timesteps: Literal["stratified", "independent"] = Field(
        "stratified", description="stratified: one noise level from each of as many bins as a step has samples."
    )
    latents: Literal["random", "once", "deterministic"] = Field(
        "random",
        description="random: draw from the VAE posterior at each use. once: one draw for each picture. deterministic: "
        "its mean.",
    )
    shuffle_tags: bool = Field(False, strict=True, description="Put a caption's parts between commas in a new order.")
    tag_dropout: Share = Field(0.0, description="Chance of each part of a caption to be left out.")
    caption_dropout: Share = Field(0.0, description="Chance of a whole caption to be left out.")
    long_prompts: Literal["refuse", "window"] = Field(
        "refuse",
        description="Of more than 75 tokens. refuse: stop before any work. window: read in windows of 75, as A1111 "
        "does; diffusers reads the first window only.",
    )
    early_stop: EarlyStopSettings = EarlyStopSettings()
    preview: PreviewSettings = PreviewSettings()
    save_every: Auto | PositiveInt = Field(
        "auto", description="Steps between checkpoints. auto: 5, 10, 20, 40, ... so that 15 at most are left."
    )
    log_every: PositiveInt = Field(1, description="Updates between two rows of loss.csv; the last one is always there.")
    tensorboard: bool = Field(False, strict=True, description="Also write scalars and previews for TensorBoard.")
    gradient_checkpointing: Auto | bool = Field(
        "auto", description="Less memory for a third more time. auto: only when one picture does not fit without."
    )
    compile: Auto | Literal["graphs"] | bool = Field(
        "auto",
        description="torch.compile the UNet: minutes first, then faster. auto: on a GPU, in a long training. graphs: "
        "compile nothing, record each step as a CUDA graph.",
    )
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = Field(0, description="Key of every random draw.")


def without_effect(train: TrainSettings) -> list[str]:
    """A sentence for each setting that somebody changed and that does nothing beside the others."""
    return [
        f"train.{key} has no effect with train.{other}: {getattr(train, other)}"
        for key, (other, _) in idle(train).items()
        if str(getattr(train, key)) != str(TrainSettings.model_fields[key].default)
    ]


def idle(train: TrainSettings) -> dict[str, tuple[str, tuple[str, ...]]]:
    """By key, what does nothing beside the others: because of which key, and what that would have to be."""
    works_with = WORKS_WITH
    if train.learn == "hypernetwork":
        of_all = {key: needs for key, needs in WORKS_WITH.items() if needs[0] != "norm"}
        works_with = of_all | dict.fromkeys(OF_WORDS, ("learn", ("word",)))
    return {key: needs for key, needs in works_with.items() if getattr(train, needs[0]) not in needs[1]}
