"""The one error that is the user's to mend: its message is all they see, so it names what, where and the way out."""


class UserError(Exception):
    """Wrong input. A stage prints the message without a traceback and exits with 1."""
