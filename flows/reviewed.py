"""Draft the captions, wait for a person, go on with what they wrote.

The captions are read, edited and approved on the review page, which saves into `captions.yaml` beside the pictures: a
commit to be, which no later run overwrites. Resuming the run on Prefect's page goes on from there.
"""

from pathlib import Path

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.flow_runs import suspend_flow_run
from prefect.states import Failed

from flows.pipeline import bring_up_to_date
from pseudoword.errors import UserError

PATIENCE_S = 7 * 24 * 3600
DRAFTS = "caption"  # the stage after which a person is asked


@flow(name="reviewed", persist_result=False, log_prints=True)
def reviewed() -> State[object]:
    """Draft the captions, wait up to a week for a person to look at them, then run the rest.

    Open the review page by `make review`, approve, and press Resume here.
    """
    root = Path.cwd()
    try:
        drafted = bring_up_to_date(root, [DRAFTS])
        if not drafted.is_completed():
            return drafted
        create_markdown_artifact(
            "The drafts are there. `make review` opens the page on which they are read, edited and approved; what you "
            "save there is kept in `captions.yaml` beside the pictures. Then press Resume.",
            key="review",
            description="What to do now",
        )
        suspend_flow_run(timeout=PATIENCE_S, key="review")
        return bring_up_to_date(root, [])
    except UserError as error:
        return Failed(message=str(error), data=error)
