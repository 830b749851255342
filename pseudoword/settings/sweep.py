"""The runs of a sweep: which keys its axes may be, and the name and the settings of each run."""

from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from pseudoword.settings.naming import names_of

# What differs between runs that share a UNet batch. The rest of train is common to all of them.
SWEPT = (
    "word.vectors", "word.init_text", "word.init_file",
    *(f"train.{key}" for key in (
        "template", "learn_rate", "warm_up", "decay", "weight_decay", "betas", "eps", "clip", "clip_at", "norm", "pull",
        "average", "loss", "huber_delta", "min_snr_gamma", "noise_offset", "timesteps", "latents", "shuffle_tags",
        "tag_dropout", "caption_dropout", "seed",
    )),
    *(f"hypernetwork.{key}" for key in (
        "layers", "activation", "learn_rate", "weight_decay", "dropout", "initialisation", "layer_norm",
    )),
)  # fmt: skip


class Sweepable(Protocol):
    """Settings with the sections that are swept and the axes, values as params.yaml has them or as they were read."""

    @property
    def sweep(self) -> dict[str, list[Any]]: ...

    def model_copy(self, *, update: dict[str, Any]) -> Any: ...


AnySettings = TypeVar("AnySettings", bound=Sweepable)


def runs(settings: AnySettings) -> dict[str, AnySettings]:
    """The settings of each run of the sweep by its name, which tells its values; without a sweep the one run is `base`.

    Raises pydantic's ValidationError for a value that its key does not take.
    """
    if not settings.sweep:
        return {"base": settings}
    combinations: list[dict[str, Any]] = [{}]
    for axis, values in settings.sweep.items():
        combinations = [{**chosen, axis: value} for chosen in combinations for value in values]
    swept = [_run(settings, values) for values in combinations]
    # The same names in whatever order the axes are written, and whether the values were read before or not.
    axes = sorted(settings.sweep, key=SWEPT.index)
    return dict(zip(names_of([{axis: _value(run, axis) for axis in axes} for run in swept]), swept, strict=True))


def _run(settings: AnySettings, values: dict[str, Any]) -> AnySettings:
    """`settings` with `section.key` values exchanged, and no sweep."""
    sections: dict[str, Any] = {"sweep": {}}
    for axis, value in values.items():
        name, key = axis.split(".")
        section = sections.get(name, getattr(settings, name))
        sections[name] = section.model_copy(update={key: read_value(section, key, value)})
    run: AnySettings = settings.model_copy(update=sections)
    return run


def _value(run: Any, axis: str) -> Any:
    section, key = axis.split(".")
    return getattr(getattr(run, section), key)


def read_value(section: BaseModel, key: str, value: Any, context: dict[str, Any] | None = None) -> Any:
    """What `value` comes to as this key of the section; a value that was read is itself. Raises ValidationError."""
    return getattr(type(section).model_validate(vars(section) | {key: value}, context=context), key)
