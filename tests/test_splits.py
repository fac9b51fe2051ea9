"""Which images a split has: subsets, strata and groups, by hand and by their invariants; and the same in every kind that splits."""

from collections import Counter

import numpy as np
import pytest

from pipeline import sources
from pipeline.files.archives import Archives
from pipeline.files.local import LocalFile, write_listing
from pipeline.files.splits import Splits
from pipeline.images.reading import read_labels
from pipeline.runtime.errors import InputError
from pipeline.sources import SPLITS
from tests.archive_files import image, write_archive
from tests.test_inspect import LAYOUTS, write_files


def drawn(names, labels=None, groups=None, **entry):
    """Names of each split."""
    splits = Splits[str](**{"train": "all", "val": 0.2, "test": 0.2} | entry)
    options = {"labels": labels and (lambda position: labels[position]), "groups": groups}
    found = {split: [names[n] for n in splits.chosen(split, names, **options)] for split in SPLITS}
    assert sum(map(len, found.values())) == len(set().union(*found.values()))
    return found


def test_neither_strata_nor_groups_draw_as_ever():
    """NumPy's permutation of ten by seed 0 is 4 6 2 7 3 5 9 0 8 1."""
    found = drawn([*"abcdefghij"])
    assert found == {"train": [*"abdfij"], "val": ["e", "g"], "test": ["c", "h"]}


@pytest.mark.parametrize("seed", range(5))
def test_each_class_has_its_fraction(seed):
    """Of 50, 20 and 10 images a fifth each, in both splits; the single image of a class is trained on."""
    labels = [["a"]] * 50 + [["b"]] * 20 + [["c"]] * 10 + [["d"]]
    names = [f"{label}{number}" for number, (label,) in enumerate(labels)]
    found = drawn(names, labels, stratified=True, seed=seed)
    counts = {split: Counter(name[0] for name in own) for split, own in found.items()}
    assert counts["val"] == counts["test"] == {"a": 10, "b": 4, "c": 2}
    assert counts["train"] == {"a": 30, "b": 12, "c": 6, "d": 1}
    other = drawn(names, labels, stratified=True, seed=seed + 1)
    assert other != found


def test_an_image_of_several_classes_counts_for_the_rarest():
    """All have a; every fifth has b as well; both fractions are kept, and images without objects are a stratum of their own."""
    labels = [["a", "b"] if n % 5 == 0 else ["a"] for n in range(50)] + [[]] * 10
    names = [str(n) for n in range(60)]
    found = drawn(names, labels, stratified=True)
    for split in ("val", "test"):
        kinds = Counter("none" if int(n) >= 50 else "b" if int(n) % 5 == 0 else "a" for n in found[split])
        assert kinds == {"a": 8, "b": 2, "none": 2}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("stratified", [False, True])
def test_no_group_is_in_two_splits(seed, stratified):
    """Forty patients with 1 to 7 images; the fractions are met but for half a group."""
    random = np.random.default_rng(seed)
    names = [f"p{patient:02d}_{n}.png" for patient in range(40) for n in range(random.integers(1, 8))]
    labels = [[int(name[1:3]) % 2] for name in names]
    splits = Splits[str](train="all", val=0.2, test=0.2, seed=seed, groups="^(p[0-9]+)_", stratified=stratified)
    found = {split: [names[n] for n in splits.chosen(split, names, labels=lambda n: labels[n])] for split in SPLITS}
    patients = [{name[:3] for name in own} for own in found.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 40
    for split in ("val", "test"):
        assert abs(len(found[split]) - 0.2 * len(names)) <= 3.5
        if stratified:  # by groups: twenty patients of each class
            counts = Counter(int(name[1:3]) % 2 for name in {name[:3] + "_" for name in found[split]})
            assert abs(counts[0] - counts[1]) <= 2


def test_groups_of_the_data_and_of_a_pattern():
    """What brackets hold, all of what fits without brackets; groups that the data name are drawn alike."""
    names = [f"{place}/{video}_{n}.png" for place in "ab" for video in range(5) for n in range(3)]
    by_brackets = drawn(names, groups=[name.rpartition("_")[0] for name in names])
    splits = {"train": "all", "val": 0.2, "test": 0.2}
    for pattern in (r"^(\w)/([0-9])_", r"^\w/[0-9]"):
        own = Splits[str](**splits, groups=pattern)
        assert {split: [names[n] for n in own.chosen(split, names)] for split in SPLITS} == by_brackets
    assert [len(each) for each in by_brackets.values()] == [18, 6, 6]
    with pytest.raises(InputError, match=r"expected `groups`, 'x', to fit each image's path; received: a/0_0\.png"):
        Splits[str](**splits, groups="x").chosen("val", names)
    with pytest.raises(InputError, match=r"expected more than 2 groups.*received: 2"):
        Splits[str](**splits, groups="^.").chosen("val", names)
    with pytest.raises(ValueError, match="expected a regular expression; received: '\\('"):
        Splits[str](**splits, groups="(")
    published = Splits[str](train="a", val="b", test="c", groups="^.", stratified=True)
    assert published.chosen("test", names).tolist() == list(range(30))


def test_patterns_and_lists_say_which_images_count(tmp_path):
    """Before fractions are drawn, and in published parts; a list names images as lists do."""
    members = [f"top/{day}/{n}.png" for day in ("mon", "tue") for n in range(10)]
    lists = {"top/good.txt": b"mon/1.png\n/data/of/others/top/tue/2.png\n\nmon/3\n", "top/bad.txt": b"mon/33.png\n"}
    write_archive(tmp_path / "a.zip", {name: image(2, 2) for name in members} | lists)
    archives = Archives([tmp_path / "a.zip"])

    def chosen(split="train", parts=("all", 0.2, 0.2), **entry):
        splits = Splits[str](**dict(zip(SPLITS, parts, strict=True)), **entry)
        return [members[n][4:] for n in splits.chosen(split, members, archives=archives, root="top")]

    published = ("a", "b", "c")
    assert chosen("test", published, only="good.txt") == ["mon/1.png", "mon/3.png", "tue/2.png"]
    assert chosen("test", published, only=("good.txt", "tue/?.png"), without="*[3-9].png") == [
        "mon/1.png",
        "tue/0.png",
        "tue/1.png",
        "tue/2.png",
    ]
    assert chosen("test", published, without=("mon*", "good.txt"))[:3] == ["tue/0.png", "tue/1.png", "tue/3.png"]
    every = [name for split in SPLITS for name in chosen(split, only="mon/*")]
    assert sorted(every) == [f"mon/{n}.png" for n in range(10)]
    assert len(chosen("val", only="mon/*")) == 2
    with pytest.raises(
        InputError, match=r"top/bad\.txt, line 1: expected an image of the archive; received: 'mon/33\.png'"
    ):
        chosen(only="bad.txt")
    with pytest.raises(InputError, match=r"received: none of 20, such as mon/0\.png"):
        chosen(only="wed/*")
    with pytest.raises(InputError, match=r"these data hold no lists; received: good\.txt"):
        Splits[str](train="a", val="b", test="c", only="good.txt").chosen("train", ["x"])


def test_entries_without_these_keys_stay_as_they_were():
    """So that no result of an older params file is stale."""
    assert set(Splits[str](train="a", val="b", test="c").model_dump()) == {"train", "val", "test", "seed"}


KINDS = ("folders", "voc", "voc_apart", "coco", "masks", "mask_lists", "yolo", "csv_labels", "csv_boxes", "labelme")


@pytest.fixture
def source_of(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)

    def source_of(layout, **changes):
        files, kind, entry, _ = LAYOUTS[layout]
        write_files(tmp_path / "data", files)
        (tmp_path / "raw").mkdir(exist_ok=True)
        write_listing(LocalFile(path="data"), tmp_path / "raw")
        splits = entry["splits"] | {"val": 0.2, "test": 0.2} | changes
        return sources.load(kind), sources.load(kind).Source(
            kind=kind, files=[{"path": "data"}], **entry | {"splits": splits}
        )

    return source_of


@pytest.mark.parametrize("layout", KINDS)
def test_every_kind_has_subsets_strata_and_groups(source_of, layout, monkeypatch, tmp_path):
    """Each gives `chosen` the paths of its images, and the classes that each image is then found to have."""
    given = {}
    chosen = Splits.chosen

    def remember(self, split, names, **options):
        given[split] = [set(options["labels"](position)) for position in range(len(names))], list(names)
        return chosen(self, split, names, **options)

    monkeypatch.setattr(Splits, "chosen", remember)
    kind, source = source_of(layout, stratified=True)
    masks = source.kind == "mask_pairs"
    found = {split: kind.examples(source, tmp_path / "raw", masks=masks, split=split) for split in SPLITS}
    labels, names = given["train"]
    assert sum(map(len, found.values())) == len(names)
    read = Counter()
    for example in (example for each in found.values() for example in each):
        own = example.labels.tolist() if example.labels is not None else [example.label]
        if example.mask is not None:
            own = [label - (not masks) for label in read_mask(example) if label not in (0, 255)]
        read[frozenset(own)] += 1
    assert read == Counter(map(frozenset, labels))
    one = next(name for name in names if name.rpartition(".")[0].endswith("3"))
    kind, source = source_of(layout, only=f"*{one[-6:]}", val=next(iter(LAYOUTS[layout][2]["splits"].values())))
    assert all(name.rpartition(".")[0].endswith("3") for name in names if name.endswith(one[-6:]))
    only = kind.examples(source, tmp_path / "raw", masks=masks, split="val")
    assert 0 < len(only) < len(names)
    kind, source = source_of(layout, groups="^")  # what all share
    with pytest.raises(InputError, match="expected more than 2 groups"):
        kind.examples(source, tmp_path / "raw", masks=masks, split="val")


def read_mask(example):
    mask = read_labels(example.mask, "") if isinstance(example.mask, bytes) else example.mask
    return np.unique(mask).tolist()


@pytest.mark.parametrize("layout", ["csv_labels", "csv_boxes"])
def test_a_column_says_groups(source_of, layout, tmp_path):
    """Images of one patient are drawn together; two columns of groups, or two groups of one image, are refused."""
    kind, source = source_of(layout)
    (table,) = {source.splits.train}
    file = tmp_path / "data" / table
    lines = file.read_text().splitlines()
    per_image = 2 if layout == "csv_boxes" else 1
    end = source.delimiter
    rows = [
        f"{line}{end}{f'p{number // per_image // 3}' if number >= 0 else 'patient'}"
        for number, line in enumerate(lines, -1)
    ]
    file.write_text("\n".join(rows) + "\n")
    write_listing(LocalFile(path="data"), tmp_path / "raw")
    entry = source.model_dump(mode="json") | {"group_column": "patient"}
    source = kind.Source(**entry)
    found = [kind.examples(source, tmp_path / "raw", masks=False, split=split) for split in SPLITS]
    groups = [{int(each.id.rpartition("_")[2]) // 3 for each in own} for own in found]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups))
    with pytest.raises(ValueError, match="group_column: expected none beside splits: groups"):
        kind.Source(**entry | {"splits": entry["splits"] | {"groups": "."}})
    if layout == "csv_boxes":
        file.write_text("\n".join(rows).replace(f"{rows[2]}", rows[2][:-2] + "p9"))
        write_listing(LocalFile(path="data"), tmp_path / "raw")
        with pytest.raises(InputError, match="in one group; received: 'p0' and 'p9'"):
            kind.examples(source, tmp_path / "raw", masks=False, split="train")
