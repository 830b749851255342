"""Links in a person's folder and in outputs/: which are the file itself, and which lead elsewhere in the machine."""

import re
from pathlib import Path

# With `cache.type symlink` DVC lays links into its cache, where a file lies under the MD5 of its content: nothing that
# a stranger could want to be read has such a name.
IN_DVC_CACHE = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")


def waits_for_ever(path: Path) -> bool:
    """Whether it is a pipe or a device: opened, it would be waited for, or read, without end."""
    return path.exists() and not path.is_file() and not path.is_dir()


def leads_out(path: Path, folder: Path) -> bool:
    """Whether what `path` stands for lies neither in `folder` nor in DVC's cache."""
    real = path.resolve()
    return not real.is_relative_to(folder.resolve()) and not IN_DVC_CACHE.search(real.as_posix())
