"""The one exception that is the user's to fix, and what other people's exceptions say."""

import errno

# Full, over the user's quota, over the largest file that the shell allows (ulimit -f).
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(ValueError):
    """Wrong input: what was expected, what was received, where, and the likely fix, in one line.

    The command line prints the message without a traceback and exits with code 2. Every other exception is a bug of
    ours and keeps its traceback.
    """


def lacks_room(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that there was no room on the disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        error = error.__cause__ or error.__context__
    return False


def first_reason(error: BaseException) -> str:
    """What the first of a chain of errors says, such as "Connection refused", in one line."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return " ".join(str(error).split())[:300]
