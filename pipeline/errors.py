"""The one exception that is the user's to fix."""


class InputError(ValueError):
    """Wrong input: what was expected, what was received, where, and the likely fix, in one line.

    The command line prints the message without a traceback and exits with code 2. Every other exception is a bug of
    ours and keeps its traceback.
    """
