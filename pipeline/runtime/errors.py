"""The exception for wrong input, and what the exceptions of other libraries mean."""

import errno

from pipeline.runtime.printable import printable

# The disk is full; the user's quota is used up; the file is larger than the shell allows (ulimit -f).
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(ValueError):
    """Wrong input: what was expected, what was received, where, and the likely fix, in one line.

    The command line prints the message without a traceback and exits with code 2. Every other exception is a bug of
    ours and keeps its traceback. The message has no secrets of addresses and no control characters (`printable`), whatever it quotes.
    """

    def __init__(self, message: str):
        super().__init__(printable(message).replace("\n", "\\n"))


def lacks_room(error: BaseException | None) -> bool:
    """Whether an error, or an error that caused it, says that the disk had no room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        error = error.__cause__ or error.__context__
    return False


def first_reason(error: BaseException) -> str:
    """Message of the first error in a chain, such as "Connection refused": one line of at most 300 characters."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return printable(" ".join(str(error).split()))[:300]
