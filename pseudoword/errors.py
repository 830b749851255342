"""Errors that are the user's to mend: a message is all they see, so it names what, where and the way out."""

import errno
import shutil

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}
# As libraries say it that have no error of their own for it: torch on a CPU, on MPS, on CUDA and in cuBLAS, oneDNN,
# OpenCV, the linker, safetensors.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed", "insufficient memory",
                 "cannot allocate memory", "could not create a primitive", "outofmemory",
                 "failed to map segment from shared object")  # fmt: skip


class UserError(Exception):
    """Wrong input. Stages, command line and flows print the message without a traceback and exit with `exit_code`."""

    exit_code = 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the machine or of its GPU ran out, whichever library says so."""
    if isinstance(error, UserError):
        return False
    told = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or any(text in told for text in OUT_OF_MEMORY)


def is_of_the_machine(error: BaseException) -> bool:
    """Whether `message_of` has all that there is to say: the fault is the user's or their machine's."""
    return isinstance(error, (UserError, OSError)) or is_out_of_memory(error)


def message_of(error: BaseException) -> str:
    """What the user reads of a fault that is theirs, or their machine's, and not the program's."""
    if is_out_of_memory(error):
        return (
            "Memory ran out. Close other programs, or ask for less at once in params.yaml: base.precision, "
            "caption.batch, latents.tile, preprocess.resolution, train.batch."
        )
    if not isinstance(error, OSError):
        return str(error)
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # of a folder that was copied
        _, target, reason = error.args[0][0]
        return f"{target}: {reason}"
    place = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in NO_ROOM:
        return f"{place}no room is left on the disk. Make some, then do the same again; what was finished is kept."
    if error.errno in NO_RIGHT:
        return f"{place}{error.strerror}. Change its rights, or those of its folder, then do the same again."
    return f"{place}{error.strerror}." if error.strerror else str(error)
