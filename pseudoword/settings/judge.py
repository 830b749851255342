"""Section judge."""

from pydantic import Field

from pseudoword.settings.fields import Section


class JudgeSettings(Section):
    images: str = Field(
        "auto",
        description="Folder or hub id (or id@revision) of the image model that says how alike pictures are. auto: the "
        "base model's own, else DINOv2, or CLIP for a style.",
    )
    texts: str = Field(
        "auto",
        description="CLIP folder or hub id (or id@revision) that holds pictures against prompts. auto: the base "
        "model's own, else ViT-B/32.",
    )
