"""A large column of a packed split is several files that read like one."""

import hashlib

import numpy as np
import pytest

from pipeline.formats import columns
from pipeline.formats.packed import Index, SplitWriter, open_split
from pipeline.runtime.errors import InputError

ROWS, LIMIT = 23, 1000


def row(number: int) -> dict:
    """Of a split: pixels of 192 bytes, five of which fit into a shard, and a file of up to 400 bytes."""
    random = np.random.default_rng(number)
    file = random.integers(0, 256, random.integers(0, 400), np.uint8)
    pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
    return {"id": f"e{number}", "fixed": {"inputs": pixels, "labels": np.int32(number)}, "ragged": {"originals": file}}


def write(folder, *, stopped: int | None = None):
    """A split in shards of `LIMIT` bytes; `stopped`: by two writers, the first of which is killed after so many rows and two more."""
    writer = SplitWriter(folder / "train")
    for number in range(ROWS if stopped is None else stopped):
        writer.append(**row(number))
    if stopped is not None:
        saved = writer.save()
        for number in range(stopped, min(stopped + 2, ROWS)):
            writer.append(**row(number))
        writer.abandon()
        writer = SplitWriter(folder / "train", saved)
        for number in range(stopped, ROWS):
            writer.append(**row(number))
    Index("classification", ("a",), (8, 8, 3), (0.0,) * 3, (1.0,) * 3, {"train": writer.close()}, {}, {}).write(folder)
    return open_split(folder, "train")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(columns, "SHARD_BYTES", LIMIT)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_shards_read_like_one_array(tmp_path):
    """By row, by slice, by list, and whole; each file has whole items, at most the limit, and its own checksum."""
    split = write(tmp_path)
    files = sorted((tmp_path / "train").glob("inputs*.npy"))
    assert len(files) == 5  # 23 rows, five of 192 bytes in each of 1,000
    inputs, expected = split["inputs"], np.stack([row(number)["fixed"]["inputs"] for number in range(ROWS)])
    np.testing.assert_array_equal(np.asarray(inputs), expected)
    assert (inputs.shape, inputs.dtype, len(inputs)) == (expected.shape, expected.dtype, ROWS)
    for rows in (slice(None), slice(3, 12), slice(6, 9), slice(20, None), slice(0, 0), slice(1, 20, 4), [22, 0, 7, 7]):
        np.testing.assert_array_equal(inputs[rows], expected[rows])
    for number in (*range(ROWS), -1):
        np.testing.assert_array_equal(inputs[number], expected[number])
    for number in range(ROWS):
        np.testing.assert_array_equal(split["originals"][number], row(number)["ragged"]["originals"])
    for file in (tmp_path / "train").glob("*.npy"):
        assert "originals.offsets" in file.name or file.name == "ids.npy" or np.load(file).nbytes <= LIMIT
    entry = split._columns["inputs"]
    assert [shard["items"] for shard in entry["shards"]] == [5, 5, 5, 5, 3]
    sums = [hashlib.sha256(expected[start : start + 5].tobytes()).hexdigest() for start in range(0, ROWS, 5)]
    assert [shard["sha256"] for shard in entry["shards"]] == sums


@pytest.mark.parametrize("stopped", [1, 4, 5, 6, 10, 14, 22])
def test_a_packing_that_goes_on_writes_the_same_files(tmp_path, stopped):
    """Stopped within a shard, at its end, or where rows that are cut off had begun the next one."""
    write(tmp_path / "whole")
    write(tmp_path / "parts", stopped=stopped)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_shard_that_is_gone_is_named(tmp_path):
    """Missing or cut off, when the column is read; and when a packing would go on."""
    split = write(tmp_path)
    file = tmp_path / "train" / "inputs.2.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=r"inputs\.2\.npy: expected a whole \.npy file"):
        split["inputs"]
    file.unlink()
    with pytest.raises(InputError, match=r"inputs\.2\.npy: expected a whole \.npy file"):
        split["inputs"]
    saved = {"ids_bytes": 0, "columns": {"inputs": ["|u1", [8, 8, 3], [[[5, ""], [5, ""], [5, ""]], 1]]}, "offsets": {}}
    (tmp_path / "train" / "ids.txt").touch()
    with pytest.raises(OSError, match=r"inputs\.2\.npy"):
        SplitWriter(tmp_path / "train", saved)


def test_a_small_column_is_one_file_as_before(tmp_path, monkeypatch):
    """With its checksum in the index, and no word of shards."""
    monkeypatch.setattr(columns, "SHARD_BYTES", 2**30)
    split = write(tmp_path)
    assert set(split._columns["inputs"]) == {"dtype", "shape", "sha256"}
    assert isinstance(split["inputs"], np.ndarray)
    assert not list((tmp_path / "train").glob("inputs.*.npy"))
