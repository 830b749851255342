"""check: refuse what cannot work, and say what the settings and the code of each stage come to.

reads   params.yaml and the files that it names, data.folder, dvc.yaml, our own code, DVC's cache; no dep of DVC's: it
        always runs
writes  outputs/settings/<stage>.json    the settings that the stage reads, resolved; what is in the files they name
        outputs/settings/machine.json    device, batch and the like, for which nothing runs again
        outputs/code/<stage>.txt         a digest of each module that the stage reaches, see stages/check/code.py

The two are the stage's deps, so that what does not change them runs nothing.
"""

from pathlib import Path

from pseudoword.code import code_file
from pseudoword.dvc.cache import remove_damaged
from pseudoword.files import write_text
from pseudoword.settings.loading import PARAMS, load_settings
from pseudoword.settings.messages import BadSettings
from stages._runtime import run_stage
from stages.check.code import code_list, recall, remember
from stages.check.graph import settings_by_stage
from stages.check.refusals import refusals
from stages.check.versions import other_circumstances
from stages.check.writing import write_settings

ROOT = Path(__file__).parents[2]
KNOWN = Path(".scratch/check/modules.json")  # digests by content
WHOLE = Path(".scratch/check/objects.json")  # of DVC's cache


def main() -> None:
    keys = settings_by_stage(ROOT / "dvc.yaml")
    settings = load_settings()
    if problems := refusals(settings):
        raise BadSettings(PARAMS, problems)
    for path in remove_damaged(WHOLE):
        print(f"note: {path} was damaged and is gone; DVC makes again what it held, or `dvc pull` fetches it")
    write_settings(settings, keys)
    write_code(list(keys))
    if told := other_circumstances():
        print(told)


def write_code(stages: list[str]) -> None:
    recall(KNOWN)
    for stage in stages:
        write_text(code_file(stage), code_list(stage, ROOT))
    remember(KNOWN)


if __name__ == "__main__":
    run_stage(main)
