"""Stage `augment`: a source's examples, decoded, augmented, resized and packed into data/augmented/DATASET.

The training split holds each example plain and in `copies` augmented versions. Examples of val and test are only resized, and their
original is kept beside. A transform sees the image at its own size; its result is stretched to the dataset's size. With
`shorter_side` or `max_shorter_side` images keep their sides in proportion, are JPEG files of any size, and have no copies: each
training cuts its inputs out of them.

Which random numbers a version gets depends on (seed, position of the example, number of the object, number of the copy)
alone, and results are written in order, so the bytes are the same for any number of worker processes.

The splits are written beside their final folder, and a journal is saved every `SHARD` examples. If a run is killed, the next run
continues from the journal, provided that the inputs, the params and the code are the same; the bytes are those of one whole run.

    packing        splits and index, by worker processes
    packer         from an example to rows: objects or proposals cut out, augmented copies, resized inputs
    rows/TASK      the annotations of a row, which differ by task
    journal        the progress of a packing
    moments        mean and deviation of the training inputs
    contact_sheet  some packed rows, drawn
    report         statistics of the dataset, and examples that occur twice

With `examples: objects` every annotated object that is not difficult is an example: the square around its box, enlarged
by `object_margin` (`annotated.cut_out`). For segmentation the rest of the square is background, as in the first stage
of DeconvNet's training (Noh et al. 2015, section 4.1), and void outside the image.
Departures from the paper: outside the image it has black pixels, this the edge's.

With `examples: proposals`, as in the second stage, the training examples are those object proposals of a file that overlap an
object, with the label map as it is; outside the image they are black and void. Validation and test images stay whole.
Departures from the paper: it takes some images of rare classes several times.
"""

from pipeline.params import load_params
from pipeline.runtime import outcome, paths
from pipeline.runtime.guard import fingerprint as stage_fingerprint
from pipeline.runtime.guard import stage
from pipeline.runtime.workers import available
from pipeline.stages.augment.contact_sheet import draw_contact_sheet
from pipeline.stages.augment.packer import Packer
from pipeline.stages.augment.packing import pack
from pipeline.stages.augment.report import Notes, write_report


def run(name: str, *, workers: int | None = None) -> None:
    """Pack the dataset `name`.

    Args:
        name: Entry under `datasets:`.
        workers: Processes; any number gives the same bytes. Default: as many as there are cores.

    Raises:
        InputError: The dataset is unknown, its source is not there, or an example or the policy is not as it has to be.
    """
    params = load_params()
    dataset = params.dataset(name)
    raw = paths.raw(dataset.source)
    versions, notes = 1 + dataset.copies, Notes()
    outputs = [paths.augmented(name), paths.dataset_report(name)]
    with stage("augment", name, inputs=[raw], outputs=outputs, params=params) as partials:
        folder, report = partials
        packer = Packer(name, dataset, params.source(dataset.source), raw, params.seed)
        work = folder.parent / ".packing" / name
        state = stage_fingerprint("augment", name, [raw], params)
        notes.left_out = packer.left_out
        index = pack(packer, work, workers=workers or available(), state=state, notes=notes)
        for path in work.iterdir():
            path.rename(folder / path.name)
        work.rmdir()
        partials.seconds_before = notes.seconds_before
        draw_contact_sheet(folder, name, versions=versions)
        write_report(report, folder, name, versions=versions, leaks=dataset.leaks, notes=notes)
    counts = ", ".join(f"{entry['examples']:,} {split}" for split, entry in index.splits.items())
    outcome.say("augment", name, "; ".join([counts, *notes.what_is_missing(index.dropped)]), paths.augmented(name))
