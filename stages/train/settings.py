"""What the stage reads of params.yaml."""

from pseudoword.settings.base import BaseSettings
from pseudoword.settings.hypernetwork import HypernetworkSettings
from pseudoword.settings.stage import Axes, StageSettings
from pseudoword.settings.train import TrainSettings
from pseudoword.settings.word import WordSettings


class Settings(StageSettings):
    base: BaseSettings
    word: WordSettings
    train: TrainSettings
    hypernetwork: HypernetworkSettings
    sweep: Axes
