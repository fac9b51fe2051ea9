"""Seals: for each stage of each entry a file that says what the stage wrote and of what it made that.

    results/seals/train@yolo.json
        outputs   size and SHA-256 of every file that the stage wrote
        inputs    SHA-256 of every file and folder that it read
        values    the values of params.yaml that it used, those left to a default included
        code      digests of the code that it ran (`runtime/code.py`)

The guard writes a seal together with the outputs. Whoever reads an output compares: its files have to be those of the seal, and inputs,
values and code those of now. So a truncated model is not loaded, and a model of the former params is not logged as one of the new.

dvc.lock alone cannot know. DVC hashes code, params and inputs after the command has ended; what changes in the meantime is recorded
with a result that it did not make (treeverse/dvc#11058), and so are `dvc commit --force` after an edit and a restored file of equal
size and time.

An output without a seal was made by no stage of this version, and nothing is known of it; it is read as it is. Equal results have equal
seals: nothing in them says when or where.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pipeline.runtime import definition, folders, paths
from pipeline.runtime.code import Code
from pipeline.runtime.digests import Content, Digests, Listing, below, digest
from pipeline.runtime.errors import InputError
from pipeline.runtime.nested import leaves
from pipeline.runtime.replacing import replacing

_NOTHING = "nothing"


class Params(Protocol):
    """The validated params.yaml.

    Attributes:
        text_sha256: SHA-256 (hexadecimal) of the file that was read.
    """

    text_sha256: str

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """All values, defaults included."""


@dataclass(frozen=True)
class Origin:
    """Of what a stage makes its outputs.

    Attributes:
        inputs: SHA-256 (hexadecimal) by path; None for what is not there and has no seal.
        values: Values of params.yaml by dotted key.
        code: Digests by path.
    """

    inputs: dict[str, str | None]
    values: dict[str, Any]
    code: dict[str, str]

    def changes(self, other: "Origin") -> Iterator[str]:
        """What is different in another origin, as `params.yaml seed: 1 -> 2` or `data/raw/scenes changed`."""
        for change in changed_values(self.values, other.values):
            yield f"{paths.PARAMS} {change}"
        for path in {**self.code, **other.code}:
            if self.code.get(path) != other.code.get(path):
                yield f"{path} changed"
        for path, known in self.inputs.items():
            if None not in (known, found := other.inputs.get(path)) and known != found:
                yield f"{path} changed"


@dataclass(frozen=True)
class Seal:
    """What a stage wrote, and of what.

    Attributes:
        outputs: Every file that it wrote.
        origin: Of what it made them.
    """

    outputs: Listing
    origin: Origin

    def write(self, file: Path) -> None:
        """Write the seal; equal seals are equal bytes."""
        text = json.dumps({"outputs": self.outputs, **asdict(self.origin)}, indent=1, ensure_ascii=False)
        with replacing(file) as partial:
            partial.write_text(text + "\n", encoding="utf-8")


def read(label: str) -> Seal | None:
    """The seal of a stage; None if there is none.

    Raises:
        InputError: The file is damaged.
    """
    file = paths.seal(label)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        outputs = {name: Content(size, sha256) for name, (size, sha256) in content.pop("outputs").items()}
        return Seal(outputs, Origin(**content))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{file.relative_to(paths.root())}: expected a seal as {label} writes it; received: a damaged file. {repair(label)}"
        ) from error


def changed_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Changed values of params.yaml as `key: old -> new`."""
    for key in {**before, **after}:
        if before.get(key, _NOTHING) != after.get(key, _NOTHING):
            yield f"{key}: {before.get(key, _NOTHING)} -> {after.get(key, _NOTHING)}"


def repair(label: str) -> str:
    """The commands that make the outputs of a stage again, as a sentence."""
    stage, _, entry = label.partition("@")
    return f"Run `cnnkeras {definition.command(stage)} {entry}` or `dvc repro {label}`"


@dataclass(frozen=True)
class Problem:
    """Why an output should not be read.

    Attributes:
        name: The file or folder, relative to the project's folder.
        label: The stage that makes it: `train@yolo`.
        text: What is different.
        is_damage: Whether the files are not those that the stage wrote; otherwise the stage would make other ones now.
    """

    name: str
    label: str
    text: str
    is_damage: bool

    def __str__(self) -> str:
        if self.is_damage:
            return f"expected {self.name} as {self.label} wrote it; received: {self.text}. {repair(self.label)}"
        return f"expected {self.name} as {self.label} makes it now; received: one from before a change: {self.text}. {repair(self.label)}"

    def as_error(self, reader: str = "") -> InputError:
        """The problem as an error; `reader` is who wants to read."""
        return InputError(f"{reader}: {self}" if reader else str(self))


class Seals:
    """Compares seals with the project. What was looked at once is not looked at again: a later look needs another object.

    Args:
        params: The validated params.yaml, for the values that the file leaves to a default; None: there are none.
        code: The code; None: that of the files.
    """

    def __init__(self, params: Params | None = None, code: Code | None = None):
        self._values = definition.read_yaml(paths.params_file())
        written = dict(leaves(self._values))
        self._defaults = {
            key: value for key, value in leaves(params.model_dump(mode="json") if params else {}) if key not in written
        }
        self._code = code or Code()
        self._digests = Digests()
        self._seals: dict[str, Seal | None] = {}
        self._listings: dict[Path, Listing] = {}
        self._local: dict[str, str | None] = {}  # digests of folders outside the project, by their text in params.yaml

    @cached_property
    def _makers(self) -> dict[Path, tuple[str, str]]:
        return definition.makers(self._values)

    def origin(self, stage: str, entry: str) -> Origin:
        """Of what a stage of an entry would make its outputs now."""
        keys = [
            *definition.params_of(stage, entry, self._values),
            *definition.checked_params_of(stage, entry, self._values),
        ]
        found = {key: definition.lookup(self._values, key) for key in keys}
        written = leaves({key: value for key, value in found.items() if value is not None})
        defaults = {
            key: value
            for key, value in self._defaults.items()
            if any(key == above or key.startswith(f"{above}.") for above in keys)
        }
        values = json.loads(json.dumps(dict(written) | defaults))  # as a seal has them
        code = self._code.dependencies(stage, entry, self._values)
        deps = definition.deps_of(stage, entry, self._values)
        inputs = {self._name(path): self._digest(path) for path in deps}
        for path, place in definition.local_of(stage, entry, self._values).items():
            if path not in self._local:
                self._local[path] = folders.digest(place, path)
            inputs[path] = self._local[path]
        return Origin(inputs, values, code)

    def seal_of(self, label: str) -> Seal | None:
        """A stage's seal; None if it has none."""
        if label not in self._seals:
            self._seals[label] = read(label)
        return self._seals[label]

    def damage(self, stage: str, entry: str, path: Path | None = None) -> Iterator[str]:
        """Differences of the outputs of a stage, or of those at or below one path, from its seal.

        For example `results/yolo/model/model.keras has 600 bytes instead of 5,000`.
        """
        label = definition.label(stage, entry)
        seal = self.seal_of(label)
        if seal is None:
            return
        for output in [path] if path else definition.outputs_of(stage, entry, self._values):
            if output == paths.seal(label):
                continue
            expected, found = below(seal.outputs, self._name(output)), self._listing(output)
            for name in sorted(expected.keys() | found.keys()):
                if expected.get(name) != found.get(name):
                    yield f"{name} {_difference(expected.get(name), found.get(name))}"

    def changes(self, stage: str, entry: str, *, besides: Iterable[Path] = ()) -> Iterator[str]:
        """Differences of values, code and inputs, but for those at, below or above `besides`, from what a stage's outputs were made of."""
        if seal := self.seal_of(definition.label(stage, entry)):
            now = self.origin(stage, entry)
            unknown = {name: None for name in now.inputs for path in besides if overlap(path, paths.root() / name)}
            yield from seal.origin.changes(replace(now, inputs=now.inputs | unknown))

    def problems(self, path: Path) -> Iterator["Problem"]:
        """What is wrong with a file or folder: damage of its own; then changes of what it was made of, and of what that was made of in turn.

        Nothing is wrong with a path that no stage makes, or whose stage left no seal.
        """
        yield from self._problems(path, set())

    def require(self, path: Path, reader: str) -> None:
        """Require that a file or folder is whole, and what its stage would make now.

        Args:
            path: The file or folder.
            reader: Who wants to read it, for the message.

        Raises:
            InputError: It is damaged, or was made of other values, code or inputs.
        """
        problem = next(self.problems(path), None)
        self.save()
        if problem:
            raise problem.as_error(reader)

    def require_whole(self, path: Path) -> "Problem | None":
        """Require that a file or folder is whole; returns a change of what it was made of, for commands that show results of any params.

        Raises:
            InputError: It is damaged.
        """
        problem = next(self.problems(path), None)
        if problem and problem.is_damage:
            raise problem.as_error()
        return problem

    def save(self) -> None:
        """Save digests for later runs."""
        self._digests.save()
        self._code.save()

    def _problems(self, path: Path, seen: set[tuple[str, str]]) -> Iterator["Problem"]:
        maker = definition.stage_of(path, self._makers)
        if maker is None:
            return
        label, name = definition.label(*maker), self._name(path)
        if path.exists():
            for damage in self.damage(*maker, path):
                yield Problem(name, label, damage, is_damage=True)
        if maker in seen:
            return
        seen.add(maker)
        for change in self.changes(*maker):
            yield Problem(name, label, change, is_damage=False)
        if self.seal_of(label):
            for dependency in definition.deps_of(*maker, self._values):
                yield from self._problems(dependency, seen)

    def _listing(self, path: Path) -> Listing:
        if path not in self._listings:
            self._listings[path] = self._digests.listing(path)
        return self._listings[path]

    def _digest(self, path: Path) -> str | None:
        """Digest of an input: of its files, or, where there are none, of those that the seal of its stage names."""
        if found := digest(self._listing(path), self._name(path)):
            return found
        maker = definition.stage_of(path, self._makers)
        seal = self.seal_of(definition.label(*maker)) if maker else None
        return digest(seal.outputs, self._name(path)) if seal else None

    def _name(self, path: Path) -> str:
        return path.relative_to(paths.root()).as_posix()


def overlap(path: Path, other: Path) -> bool:
    """Whether the two paths are equal, or one is inside the other."""
    return path.is_relative_to(other) or other.is_relative_to(path)


def _difference(expected: Content | None, found: Content | None) -> str:
    if found is None:
        return "is missing"
    if expected is None:
        return "is no file of that stage"
    if expected.size != found.size:
        return f"has {found.size:,} bytes instead of {expected.size:,}"
    return "has other content"
