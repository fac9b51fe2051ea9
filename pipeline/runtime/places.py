"""Where a command may read and write: what is missing around it, and what an error of the system says about a place.

A checkout may belong to somebody else or lie on a disk that is read-only, a container's user may have neither a name nor a home folder,
and TMPDIR may name a folder that is not there.
"""

import errno
import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.runtime import paths
from pipeline.runtime.errors import InputError, first_reason, lacks_room
from pipeline.runtime.replacing import PARTIAL

_OWN_CLONE = "Work in a clone of your own, or let its owner give you the right"
# What the place is to blame for, and what helps. Anything else, such as a file that is not there, may be a bug of ours.
_FIXES = {
    errno.EACCES: _OWN_CLONE,
    errno.EPERM: f"{_OWN_CLONE}; if it is immutable, `chattr -i` ends that",
    errno.EROFS: "Clone or copy the project to a disk that can be written to",
    errno.EISDIR: "Move that folder away",
    errno.ENOTDIR: "Move the file away that is in place of a folder",
    errno.EEXIST: "Move away what is in its place",
    errno.ENOTEMPTY: "Move what is in that folder away",
    errno.ENAMETOOLONG: "Use a shorter name, or a folder with a shorter path",
    errno.ELOOP: "Remove the link that leads to itself",
    errno.EMFILE: "Raise the number of open files by `ulimit -n`",
    errno.ENFILE: "Close other programs",
    errno.EIO: "The disk may be broken: look at the system's messages",
    errno.ESTALE: "The network disk was lost: connect it again",
    errno.EBUSY: "Another program holds it: end that",
    errno.ETXTBSY: "Another program runs it: end that",
}


def said(error: OSError) -> str | None:
    """What an error says about a place, in one line with the fix; None if the place is not to blame."""
    if lacks_room(error):
        return f"expected room on the disk; received: {first_reason(error)}. Make room and run this again"
    if error.errno not in _FIXES:
        return None
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    return _sentence(path, error.errno)


def require_replaceable(path: Path) -> None:
    """Refuse a file or folder that this process could not replace when it is done with a new one.

    Raises:
        InputError: A part of it, or the folder that it lies in, may not be changed.
    """
    require_writable(path.parent)
    for folder in _folders(path):
        _require_writable(folder)


def require_writable(folder: Path) -> None:
    """Refuse a folder, there or still to be made, in which this process could not write.

    Raises:
        InputError: It, or the nearest folder above it that is there, may not be changed or is no folder.
    """
    folder = folder.absolute()
    existing = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not existing.is_dir():
        raise InputError(_sentence(existing, errno.ENOTDIR))
    _require_writable(existing)


def require_writable_project() -> None:
    """Refuse a project that may not be written to, before DVC says so in words of its own.

    Raises:
        InputError: A folder that `dvc repro` writes to may not be changed.
    """
    root = paths.root()
    for path in (root, root / ".dvc", root / ".dvc" / "tmp", root / "data" / "raw", paths.state()):
        if path.exists():
            _require_writable(path)
    for path in (root / "results", root / "data" / "augmented"):
        for folder in _folders(path):
            _require_writable(folder)


def _folders(path: Path) -> Iterator[Path]:
    """A folder and all folders below it, without what links lead to; nothing, if the path is no folder."""
    if not path.is_symlink():
        yield from (Path(folder) for folder, _, _ in os.walk(path))


def require_temporary_folder() -> None:
    """Refuse a TMPDIR that is not there or not to be written to: libraries would take another folder without a word.

    Raises:
        InputError: TMPDIR is such a folder, or it is not set and no usual folder for temporary files can be used.
    """
    folder = os.environ.get("TMPDIR")
    if folder:
        if not Path(folder).is_dir():
            raise InputError(
                f"TMPDIR: expected a folder; received: {folder}, which is not there. Make it, or unset TMPDIR"
            )
        if not _is_writable(Path(folder)):
            raise InputError(
                f"TMPDIR: expected a folder that can be written to; received: {folder}. Name another one, or unset TMPDIR"
            )
    import tempfile

    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise InputError(
            f"expected a folder for temporary files; received: {first_reason(error)}. Set TMPDIR to a folder that can be written to"
        ) from error


def complete_environment() -> None:
    """Name a home folder and a user to this process and its children where there are none: DVC, Keras and MLflow ask for both."""
    home = Path(os.environ.get("HOME") or _registered_home() or "/nonexistent")
    if not (home.is_dir() and os.access(home, os.R_OK | os.X_OK)):
        os.environ["HOME"] = str(_own_folder("home"))
    if not _is_writable(home):
        os.environ.setdefault("MPLCONFIGDIR", str(_own_folder("matplotlib")))
        import logging  # here and below: the help needs neither

        logging.getLogger("matplotlib").setLevel(
            logging.ERROR
        )  # where this project is read-only too, it warns at each start
    if _registered_home() is None and not any(
        os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")
    ):
        os.environ["USER"] = str(os.getuid())


def _registered_home() -> str | None:
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_dir
    return None


def _own_folder(name: str) -> Path:
    """A folder of this project, or of nobody if this is no project; whoever needs it makes it."""
    with suppress(InputError):
        return paths.state() / name
    return Path("/nonexistent") / name


def _require_writable(path: Path) -> None:
    if not _is_writable(path):
        is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        raise InputError(_sentence(path, errno.EROFS if is_read_only else errno.EACCES))


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _sentence(path: Path | None, number: int) -> str:
    if path is None:
        return f"expected to be able to write; received: {os.strerror(number)}. {_FIXES[number]}"
    # `os.path.isfile` raises no error of its own, as for a name that is too long.
    verb = "read" if os.path.isfile(path) and not os.access(path, os.R_OK) else "write to"  # noqa: PTH113
    return f"expected to be able to {verb} {_shown(path)}; received: {os.strerror(number)}{_owner(path, number)}. {_FIXES[number]}"


def _shown(path: Path) -> Path:
    """A path as a person knows it: below the project's folder, and the final one in place of the temporary one beside it."""
    path = path.with_name(path.name.removeprefix(PARTIAL) or path.name) if path.name else path
    with suppress(InputError, ValueError):
        shown = path.absolute().relative_to(paths.root())
        return path if shown == Path() else shown
    return path


def _owner(path: Path, number: int) -> str:
    """Whose the path, or the nearest folder above it that exists, is, where that is the reason."""
    if number not in (errno.EACCES, errno.EPERM):
        return ""
    with suppress(OSError, StopIteration):
        existing = next(place for place in (path, *path.parents) if place.exists())
        owner = existing.stat().st_uid
        if owner != os.geteuid():
            return f" ({_shown(existing)} belongs to {_user(owner)}, this is {_user(os.geteuid())})"
    return ""


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
