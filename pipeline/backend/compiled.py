"""What JAX has compiled, kept for later starts: JAX's own persistent cache, in `.cnnkeras/compiled`.

A process compiles its first step for seconds, on a GPU for up to half a minute. A program from the cache is the one that was compiled, so no
bit changes. JAX names a program by a digest of its operations, versions and flags. A program for a processor is also divided among its threads and
made for its kind, which the digest does not know (jax 0.10.2), so each of these machines has a folder of its own:

    .cnnkeras/compiled/MACHINE/NAME-DIGEST-cache    a program
                               NAME-DIGEST-atime    when it was last used, written after the program
                               .lockfile            held by whoever reads or writes

JAX deletes the programs that were not used for the longest time where a folder would grow above `MAX_BYTES`. Everything may be deleted at any time.
JAX_COMPILATION_CACHE_DIR names another folder, JAX_COMPILATION_CACHE_MAX_SIZE another limit, JAX_ENABLE_COMPILATION_CACHE=false means none.

A program is machine code that will run. So the folder is the project's, as trusted as its code, and not one that users share.
"""

import hashlib
import json
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.runtime import paths
from pipeline.runtime.errors import InputError

MAX_BYTES = 2**30  # a training on a processor leaves 1 MB
_MIN_SECONDS = 0.1  # of compilation; what is compiled faster is read as slowly
_NO_LIMIT = -1  # JAX's default
_TIME_BYTES = 8  # of a whole -atime file
_LOCK_SECONDS = 10


def keep(*machine: Any) -> None:
    """Have JAX keep what it compiles, and take what it has kept. Nothing is kept outside of a project, nor where this process may not write.

    Args:
        machine: All that decides what a program is and that JAX's digest lacks.
    """
    config = import_module("jax").config  # of an extra
    if config.jax_compilation_cache_dir:
        return  # the user's own
    try:
        folder = paths.compiled() / hashlib.sha256(json.dumps(machine).encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        _repair(folder)
    except (InputError, OSError):
        return
    config.update("jax_compilation_cache_dir", str(folder))
    if config.jax_compilation_cache_max_size == _NO_LIMIT:
        config.update("jax_compilation_cache_max_size", MAX_BYTES)
    config.update("jax_persistent_cache_min_compile_time_secs", _MIN_SECONDS)


def _repair(folder: Path) -> None:
    """Delete the programs that a kill or a full disk has left cut: JAX would try to read them each time, and not write them again."""
    filelock = import_module("filelock")  # DVC brings it
    # Another process holds the lock for milliseconds; if one holds it longer, the next start looks again.
    with suppress(filelock.Timeout), filelock.FileLock(folder / ".lockfile", timeout=_LOCK_SECONDS):
        for program in folder.glob("*-cache"):
            used = program.with_name(f"{program.name.removesuffix('cache')}atime")
            if not used.is_file() or used.stat().st_size != _TIME_BYTES:
                program.unlink()
                used.unlink(missing_ok=True)
