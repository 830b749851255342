"""Errors that are the user's to mend: a message is all they see, so it names what, where and the way out."""

import errno
import shutil

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}


class UserError(Exception):
    """Wrong input. Stages, command line and flows print the message without a traceback and exit with `exit_code`."""

    exit_code = 1


def message_of(error: UserError | OSError | MemoryError) -> str:
    """What the user reads of a fault that is theirs, or their machine's, and not the program's."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory of this machine ran out. Close other programs, or ask for less at once in params.yaml."
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # of a folder that was copied
        _, target, reason = error.args[0][0]
        return f"{target}: {reason}"
    place = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in NO_ROOM:
        return f"{place}no room is left on the disk. Make some, then do the same again; what was finished is kept."
    if error.errno in NO_RIGHT:
        return f"{place}{error.strerror}. Change its rights, or those of its folder, then do the same again."
    return f"{place}{error.strerror}." if error.strerror else str(error)
