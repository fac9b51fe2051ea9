"""params.yaml as a file: what of YAML it may use, and one line with the place for everything else."""

import time
from pathlib import Path

import pytest

from pipeline.params import load_params
from pipeline.params.composing import MAX_DEPTH
from pipeline.params.parsed import ParsedFile
from pipeline.runtime.errors import InputError
from tests.conftest import PARAMS

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n" for number in range(1, 10)
)


def refused(text: str | bytes) -> str:
    """What is said of a params.yaml, without the file's name; it is one line, at once."""
    Path("params.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    begin = time.process_time()
    with pytest.raises(InputError) as failure:
        load_params(Path("params.yaml"))
    assert time.process_time() - begin < 3
    (line,) = str(failure.value).splitlines()
    return line.removeprefix("params.yaml:")


def edited(old: str, new: str) -> str:
    """The smallest project's params with one text replaced, once."""
    assert old in PARAMS
    return PARAMS.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  boxes: {", "  2024: {", '8: datasets.2024: expected a key that YAML reads as text; received: 2024, which is a number. Put it in quotes: "2024"'),
        ("  crops: &", "  true: &", '11: experiments.true: expected a key that YAML reads as text; received: true, which is true or false. Put it in quotes: "true"'),
        ("  scenes: {k", "  1.5: {k", '3: sources.1.5: expected a key that YAML reads as text; received: 1.5, which is a number. Put it in quotes: "1.5"'),
        ("  scenes: {k", "  ~: {k", '3: sources.~: expected a key that YAML reads as text; received: ~, which is nothing. Put it in quotes: "~"'),
        ("  scenes: {k", "  2001-01-01: {k", '3: sources.2001-01-01: expected a key that YAML reads as text; received: 2001-01-01, which is a date. Put it in quotes: "2001-01-01"'),
        ("  scenes: {k", "  ? [a, b]\n  : {k", "3: sources: expected a key that is text; received: a list or a mapping"),
        ("rate: 0.1", "rate: 0,1", "19: experiments.crops.train.optimizer.1: expected a key that YAML reads as text; received: 1, which is a number. Decimal numbers are written with a point"),
        ("    dataset: crops\n", "    dataset: crops\n    dataset: boxes\n", "13: experiments.crops.dataset: expected every key once; received: 'dataset' again, first in line 12"),
        ("seed: 1\n", "seed: 2001-01-01\n", "1: seed: expected a number, text, true, false or null; received: 2001-01-01, a date. Put it in quotes"),
        ("seed: 1\n", 'seed: !!python/object/apply:os.system ["touch FILE"]\n', "1: expected plain numbers, text, lists and mappings; received: the tag !!python/object/apply:os.system"),
        ("seed: 1\n", "seed: !mine 1\n", "1: expected plain numbers, text, lists and mappings; received: the tag !mine"),
        ("    dataset: crops\n", "    dataset: *experiment\n", "12: expected an alias of an earlier value; received: *experiment within itself"),
        ("<<: *experiment", "<<: *experimen", "26: expected YAML; received: found undefined alias 'experimen'"),
        ("seed: 1\n", f"seed: {'[' * 3000}{']' * 3000}\n", f"1: expected at most {MAX_DEPTH} levels of lists and mappings; received: more"),
        ("seed: 1\n", f"seed: {'{a: ' * 100_000}\n", f"1: expected at most {MAX_DEPTH} levels of lists and mappings; received: more"),
        ("seed: 1\n", f"{LAUGHS}seed: 1\n", "6: a5: expected at most 200,000 values, those behind aliases counted each time; received: more"),
        ("seed: 1\n", "seed: 1\x00\n", "1: expected YAML; received: a character that text does not have, U+0000"),
        ("size: [40]", "size: [40", "7: expected YAML; received: expected ',' or ']', but got '}'"),
        ("    dataset: crops\n", "    dataset crops\n", "13: expected YAML; received: mapping values are not allowed here. The line above may lack a ': '"),
        ("    model: {width", "   model: {width", "14: expected YAML; received: expected <block end>, but found '<block mapping start>'. Indent keys of one mapping alike"),
        ("seed: 1\n", f"seed: {'9' * 5000}\n", "1: seed: expected a number of at most 100 characters; received: one of 5,000"),
        ("rate: 0.1", f"rate: -0x{'f' * 5000}", "19: experiments.crops.train.optimizer.learning_rate: expected a number of at most 100 characters; received: one of 5,003"),
        ("seed: 1\n", "seed: &experiment 1\n", "11: expected every anchor once; received: &experiment again, first in line 1"),
        ("seed: 1\n", "%YAML 1.1\n---\nseed: 010\n", "2: expected YAML 1.2, as DVC reads it; received: the directive %YAML 1.1. Remove it"),
        ("crops: {source: scenes", "crops: {source: 5", "6: datasets.crops.source: expected text; received: 5. Put it in quotes"),
        ("epochs: 1", "epochs: 100000000000000000000", "17: experiments.crops.train.epochs: expected a number of at most 1,000,000; received: 100000000000000000000"),
        ("  crops: &", '  "cr\\nops": &', "11: experiments.cr\\nops: expected a name of lower-case letters, digits and _; received: 'cr\\nops'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_what_a_params_file_may_not_use_is_refused(old, new, message):
    """Keys that are no text (DVC drops such entries without a word), keys twice, tags, dates, expansion without end, depth."""
    assert refused(edited(old, new)) == message
    assert not Path("FILE").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PARAMS + "---\nseed: 2\n", "40: expected YAML; received: but found another document, in what begins in line 1"),
        ("# nothing\n", " expected a mapping with seed, sources, datasets and experiments; received: an empty file"),
        ("hello\n", " expected a mapping with seed, sources, datasets and experiments; received: 'hello'"),
        (PARAMS.encode("utf-16"), "1: expected UTF-8 text; received: the byte 0xff"),
        (PARAMS + "#" * 2**22, " expected a file of at most 4 MiB; received: more"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_what_is_no_params_file_is_refused(text, message):
    """Several documents, none, text, another encoding, a file of megabytes."""
    assert refused(text) == message


@pytest.mark.parametrize("section", ["sources", "datasets", "experiments", "ensembles", "lab", "imports"])
@pytest.mark.parametrize("name", ["../../victim", "$(touch FILE)", "a b", "A", "é", "", ".", "-rf", "a;b", "a" * 101])
@pytest.mark.usefixtures("project")
def test_names_are_safe_in_paths_and_commands(section, name):
    """In every section: DVC puts names into commands without quotes, and deletes what stands at their outputs."""
    text = PARAMS
    if section in ("sources", "datasets", "experiments"):
        text = text.replace(f"\n{section}:\n", f"\n{section}:\n  {name!r}: {{}}\n")
    else:
        text += f"{section}:\n  {name!r}: {{}}\n"
    assert "expected a name of" in refused(text)


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (["seed: 1\nsources"], " expected the key 'seed'; received: none"),
        (["    dataset: crops\n", "      batch_size: 1\n", "name: sgd, "], "11: experiments.crops: expected the keys 'dataset', 'train.batch_size' and 'train.optimizer.name'; received: none"),
        (["      epochs: 1\n", "      batch_size: 1\n"], "16: experiments.crops.train: expected the keys 'epochs' and 'batch_size'; received: none"),
        ([", val: 2, test: 2"], "3: sources.scenes.scenes: expected the keys 'val' and 'test'; received: none"),
        (["confidence_threshold: 0.25, nms_iou: 0.5, "], "34: experiments.boxes.postprocess: expected the keys 'confidence_threshold' and 'nms_iou'; received: none"),
        (["kind: digit_scenes, "], "3: sources.scenes: expected the key 'kind' (cifar, coco, csv_boxes, csv_labels, digit_scenes, files, hugging_face, idx, image_folder, labelme, mask_pairs, mnist1d, video_folder, voc, yolo); received: none. `cnnkeras inspect PATH` says which kind a folder or an archive is"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("project")
def test_all_missing_keys_of_an_entry_are_named_at_once(removed, message):
    """Whoever writes an entry is not sent back for each key."""
    text = PARAMS
    for part in removed:
        assert part in text
        text = text.replace(part, "sources" if part.endswith("sources") else "", 1)
    assert refused(text) == message


@pytest.mark.usefixtures("project")
def test_keys_that_a_function_needs_are_named_with_the_others():
    """A detector's thresholds are arguments of its post-processing, which no class of ours repeats."""
    text = PARAMS.replace("    architecture: yolo\n", "    architecture: yolo\n    train: {epochs: 1}\n")
    assert refused(text.replace("confidence_threshold: 0.25, nms_iou: 0.5, ", "")) == (
        "30: experiments.boxes: expected the keys 'train.batch_size', 'train.optimizer', 'train.schedule', "
        "'train.initial_weights', 'postprocess.confidence_threshold' and 'postprocess.nms_iou'; received: none"
    )


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")])
@pytest.mark.usefixtures("project")
def test_what_editors_add_changes_nothing(change):
    """A byte order mark; Windows' ends of lines."""
    expected = load_params(Path("params.yaml")).model_dump()
    Path("params.yaml").write_bytes(change(PARAMS).encode())
    assert load_params(Path("params.yaml")).model_dump() == expected


@pytest.mark.usefixtures("project")
def test_anchors_aliases_and_merge_keys_are_read():
    """The smallest project uses a merge key, with keys of its own that win; an alias stands for the whole mapping."""
    Path("params.yaml").write_text(edited("train: 4, val: 2, test: 2}", "train: &count 4, val: *count, test: 2}"))
    params = load_params(Path("params.yaml"))
    assert params.experiment("signals").train == params.experiment("crops").train
    assert params.experiment("signals").architecture == "mnist1d_conv"
    assert params.source("scenes").scenes.val == 4


@pytest.mark.usefixtures("project")
def test_numbers_are_as_in_yaml_1_2():
    """As DVC reads them: an exponent needs no point, and a zero in front means nothing."""
    Path("params.yaml").write_text("a: 5e-4\nb: 010\nc: 0o10\nd: yes\n")
    assert ParsedFile(Path("params.yaml")).plain == {"a": 0.0005, "b": 10, "c": 8, "d": "yes"}


@pytest.mark.parametrize("name", ["scratch", "datasets", "lab", "code"])
def test_no_result_takes_the_folder_of_something_else(project, name):
    """results/NAME is an experiment's, but for the names that stand for something else there."""
    project.edit("  signals:\n    <<", f"  {name}:\n    <<")
    with pytest.raises(InputError, match=rf"params\.yaml:\d+: experiments\.{name}: expected another name"):
        load_params()
