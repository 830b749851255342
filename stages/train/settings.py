"""What the stage reads of params.yaml."""

from pseudoword.settings.base import Base
from pseudoword.settings.hypernetwork import Hypernetwork
from pseudoword.settings.stage import Axes, StageSettings
from pseudoword.settings.train import Train
from pseudoword.settings.word import Word


class Settings(StageSettings):
    base: Base
    word: Word
    train: Train
    hypernetwork: Hypernetwork
    sweep: Axes
