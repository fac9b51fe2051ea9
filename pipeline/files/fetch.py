"""Published files fetched from the first address that has them, and kept only when their checksums are right.

A file that is being fetched lies in `.downloads` beside the source's folder, as one `.part` file for each address that was tried.
An interrupted or failed run leaves these there. The next run continues them, if the address still has the same version of the
file, and does not fetch a complete file again. All files of a source are put into its folder together, when the last one is
right.
"""

import contextlib
import glob
import hashlib
import json
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.files.addresses import Opened, open_address, read_block
from pipeline.files.published import Checked, PublishedFile, WrongFileError
from pipeline.files.unusable import StaleError, TransientError, UnusableError
from pipeline.runtime import progress
from pipeline.runtime.errors import InputError

PARALLEL_FILES = 4
# Tries in a row that bring nothing new. The waits between them double: 1, 2, 4 and 8 seconds.
ATTEMPTS, FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 5, 1.0, 60.0
PROGRESS_BYTES = 2**20  # what a try must bring to count as something new


class _StoppedError(Exception):
    """Another file failed, or the user ended the run."""


def fetch_files(files: Sequence[PublishedFile], folder: Path, *, mirrors: Sequence[str]) -> None:
    """Put each file at `folder / name`, from the first address that has it; all of them or none.

    The addresses are those in the mirrors (folders or URLs), then the file's own, in order. A local one needs no network. A file
    that is not as published is never left behind.

    Raises:
        InputError: No address had a file with an accepted checksum; the message says what each gave.
    """
    downloads = folder.parent / ".downloads" / folder.name.lstrip(".")
    with progress.bars(unit=progress.BYTES) as start_bar:

        def fetch(file: PublishedFile, stop: threading.Event) -> Path:
            work = _Work(
                file, downloads / file.name, tuple(mirrors), folder.parent, start_bar(file.name, file.size), stop
            )
            return work.run()

        fetched = _in_threads(fetch, files)
    for file, path in zip(files, fetched, strict=True):
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    shutil.rmtree(downloads, ignore_errors=True)
    with contextlib.suppress(OSError):  # another source's files may be on their way
        downloads.parent.rmdir()


def _in_threads(function: Callable[[Any, threading.Event], Any], items: Sequence[Any]) -> list[Any]:
    """`function(item, stop)` of each item, some at a time; the first that fails stops the others."""
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    answers: queue.SimpleQueue = queue.SimpleQueue()
    for position, item in enumerate(items):
        waiting.put((position, item))
    stop = threading.Event()

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while not stop.is_set():
                position, item = waiting.get_nowait()
                try:
                    answers.put((position, function(item, stop), None))
                except BaseException as error:
                    answers.put((position, None, error))

    # Daemons: one that waits for a silent server must not hold up who pressed Ctrl-C.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(PARALLEL_FILES, len(items)))]
    for thread in threads:
        thread.start()
    results: list[Any] = [None] * len(items)
    try:
        for _ in items:
            position, result, error = answers.get()
            if error is not None:
                raise error
            results[position] = result
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=1)
    return results


@dataclass(frozen=True)
class _Work:
    """One file being fetched.

    Attributes:
        file: The file's description.
        target: Where it is put when it is complete; `.part` files lie beside it.
        mirrors: Folders and URLs to try first.
        kept: Folder whose files are ours: they need not be copied.
        bar: Shows how far it is.
        stop: Says that nobody waits for it any more.
    """

    file: PublishedFile
    target: Path
    mirrors: tuple[str, ...]
    kept: Path
    bar: progress.Bar
    stop: threading.Event

    def run(self) -> Path:
        """Fetch the file to `target`.

        Raises:
            InputError: No address has it.
        """
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.target.exists():  # left by a run that got this file and failed at another
            try:
                self._take(self.target)
                return self.target
            except UnusableError:
                self.target.unlink()
        failures = []
        for address in [*(f"{mirror.rstrip('/')}/{self.file.name}" for mirror in self.mirrors), *self.file.urls]:
            try:
                size = self._from(address)
            except UnusableError as error:
                failures.append(f"{address}: {error}")
            else:
                for part in self.target.parent.glob(f"{glob.escape(self.target.name)}.*.part*"):
                    part.unlink()
                self.bar.update(size, f"from {address}", total=size)
                return self.target
        raise InputError(
            f"expected {self.file.describe()}; received: {'; '.join(failures) or 'no address'}. {self._advice()}"
        )

    def _advice(self) -> str:
        if self.file.login:
            folder = self.mirrors[0] if self.mirrors else "a folder"
            return (
                f"It is behind a login: get it from {self.file.login} and put it at {folder}/{self.file.name}, "
                "or into the folder that CNNKERAS_MIRROR names"
            )
        return (
            "Check the addresses and the checksum in params.yaml, or set CNNKERAS_MIRROR to a folder or URL that has it"
        )

    def _from(self, address: str) -> int:
        """Fetch the file from one address; returns its length."""
        local = _local(address)
        if local is not None and local.is_file() and local.resolve().is_relative_to(self.kept.resolve()):
            size = self._take(local)
            try:
                os.link(local.resolve(), self.target)  # a hundred gigabytes are not copied to stay where they are
            except OSError:
                shutil.copyfile(local, self.target)
            return size
        part = _Part(
            self.target.with_name(f"{self.target.name}.{hashlib.sha256(address.encode()).hexdigest()[:8]}.part")
        )
        try:
            size = self._retried(address, part)
        except BaseException:
            part.remove_useless()
            raise
        part.data.replace(self.target)
        return size

    def _take(self, path: Path) -> int:
        """Verify a file where it lies; returns its length."""
        with path.open("rb") as stream:
            checked = Checked(self.file)
            self._copy(Opened(stream, 0, path.stat().st_size, None), checked, None)
            return checked.finish()

    def _retried(self, address: str, part: "_Part") -> int:
        """Fetch the file into `part`, trying again as long as that may help."""
        failures, max_size = 0, part.size
        while True:
            try:
                return self._attempt(address, part)
            except TransientError as error:
                if part.size >= max_size + PROGRESS_BYTES:
                    failures, max_size = 0, part.size
                failures += 1
                if failures >= ATTEMPTS:
                    raise
                wait = min(max(FIRST_WAIT_SECONDS * 2 ** (failures - 1), error.wait_seconds), MAX_WAIT_SECONDS)
                self.bar.update(part.size, f"{error}; again in {wait:.0f} s")
                if self.stop.wait(wait):
                    raise _StoppedError from error

    def _attempt(self, address: str, part: "_Part") -> int:
        checked = Checked(self.file)
        offset, validator = part.state()
        try:
            with open_address(address, offset, validator) as opened:
                if opened.total is not None and self.file.size not in (None, opened.total):
                    raise WrongFileError(f"{opened.total:,} bytes instead of {self.file.size:,}")
                with part.begin(opened) as sink:
                    if opened.offset:
                        checked.update_from(part.data, opened.offset)
                    self.bar.begin(opened.offset)
                    self._copy(opened, checked, sink)
            return checked.finish(opened.total)
        except StaleError as error:
            part.remove()
            raise TransientError(str(error)) from error
        except WrongFileError as error:
            part.remove()
            if offset:  # what was there may have been damaged since: once more, from the start
                raise TransientError(f"{error}, continued at {offset:,} bytes") from error
            raise

    def _copy(self, opened: Opened, checked: Checked, sink: BinaryIO | None) -> None:
        total = self.file.size if self.file.size is not None else opened.total
        while block := read_block(opened.stream):
            if self.stop.is_set():
                raise _StoppedError
            if sink is not None:
                sink.write(block)
            checked.update(block)
            self.bar.update(checked.size, total=total, final=False)


def _local(address: str) -> Path | None:
    """The path that an address on this machine means; None for any other."""
    if address.startswith("file://"):
        return Path(url2pathname(urlsplit(address).path))
    return None if "://" in address else Path(address)


@dataclass(frozen=True)
class _Part:
    """The part of a file that one address gave so far, and the version of the file that the address named."""

    data: Path

    @property
    def _version(self) -> Path:
        return self.data.with_name(f"{self.data.name}.json")

    @property
    def size(self) -> int:
        return self.data.stat().st_size if self.data.exists() else 0

    def state(self) -> tuple[int, str | None]:
        """The number of bytes and their version; (0, None) where nothing can be continued."""
        try:
            validator = json.loads(self._version.read_text(encoding="utf-8"))["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0, None
        return (self.size, validator) if self.size else (0, None)

    @contextlib.contextmanager
    def begin(self, opened: Opened) -> Iterator[BinaryIO]:
        """The file to write to, emptied where the address starts from the beginning."""
        if not opened.offset:
            self.remove()
        with self.data.open("ab") as sink:
            if opened.validator is not None:
                self._version.write_text(json.dumps({"validator": opened.validator}) + "\n", encoding="utf-8")
            yield sink

    def remove_useless(self) -> None:
        """Remove a part that cannot be continued."""
        if self.state() == (0, None):
            self.remove()

    def remove(self) -> None:
        """Remove the part."""
        self.data.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)
