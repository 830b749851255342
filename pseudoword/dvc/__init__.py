"""All contact with DVC, shared by `app` and `flows`: nothing else imports or starts it.

`graph` reads dvc.yaml and the metrics, `outputs` what can be brought back, `process` runs one stage, `experiments`
keeps what other workspaces made, `revisions` reads the files of other commits. None needs torch, nor anything above
this folder.
"""

import os

# Read by dvc when it is imported, and by the processes that are started: nothing is sent anywhere unless asked for.
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
