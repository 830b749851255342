"""caption: a captioner's draft for each picture, for `curate` to put a person's own text over.

reads   outputs/pictures/<id>.png, outputs/pictures.csv, the captioner
writes  outputs/drafts.csv    id, draft; sorted by id
"""

from pathlib import Path

import pandas as pd

from pseudoword.base.placement import resolve_device, resolve_precision
from pseudoword.files import write_table
from pseudoword.pictures import open_pictures, used_ids
from pseudoword.settings import load_settings
from stages._runtime import alone_on, run_stage
from stages.caption.captioner import Captioner, choose_model

OUT = Path("outputs/drafts.csv")


def main() -> None:
    settings = load_settings()
    options = settings.caption
    device = resolve_device(settings.base.device)
    precision = resolve_precision(settings.base.precision, device)
    ids = used_ids()
    with alone_on(device):
        captioner = Captioner(choose_model(options.model, settings.base.model), device, precision)
        drafts = captioner.draft(open_pictures(ids), options.prefix, options.beams, options.max_tokens)
    write_table(OUT, pd.DataFrame({"id": ids, "draft": drafts}))
    print(f"{len(drafts)} drafts, {len(set(drafts))} different; the first: {drafts[0]}")


if __name__ == "__main__":
    run_stage(main)
