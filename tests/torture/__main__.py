"""`python -m tests.torture --kills 50 --seed 0`: the kills and faults, one after another, and one line at the end.

    torture: 50 kills, 50 equal, 0 lost, 0 faults, 0 false

equal: outputs that are those of a run that nobody killed, after the next `cnnkeras repro`. lost: kills after which finished work was done
again, or more steps of a training than lie between two checkpoints. faults: commands that failed or left something behind. false: results
that DVC and `cnnkeras plan` take for up to date and that are not. The exit code is 1 unless all kills are equal and the rest is 0.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.torture import faults, kills
from tests.torture.place import REPRO, lay_out, must


@click.command()
@click.option("--kills", "count", default=50, show_default=True, type=click.IntRange(min=0))
@click.option("--seed", default=0, show_default=True)
@click.option("--with-faults/--without-faults", default=True, help="Make all the other faults too.")
def main(count: int, seed: int, with_faults: bool) -> None:
    """Torture a small project."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        base = Path(folder).resolve()
        reference = lay_out(base / "reference")
        must(reference, *REPRO)
        must(reference, "git", "add", "--all")
        expected = reference.results()
        click.echo(f"the run that nobody kills: {len(expected)} files in {time.monotonic() - begin:.0f} s")
        equal = lost = failed = false = again = 0
        for number in range(count):
            rng = random.Random(f"{seed} {number}")
            what, verdict = kills.kill_one(reference, base / "killed", expected, rng)
            equal, lost, again = equal + verdict.is_equal, lost + bool(verdict.lost), again + verdict.trained
            failed, false = failed + bool(verdict.faults), false + verdict.is_false
            click.echo(f"kill {number + 1}: {what}: {'; '.join(verdict.faults + verdict.lost) or 'equal'}")
        for fault in faults.ALL if with_faults else ():
            rng = random.Random(f"{seed} {fault.__name__}")
            wrong = list(fault(reference, base / "faulty", expected, rng))
            false += sum(sentence.startswith("false: ") for sentence in wrong)
            failed += sum(not sentence.startswith("false: ") for sentence in wrong)
            click.echo(f"{fault.__name__.replace('_', ' ')}: {'; '.join(wrong) or 'as it has to be'}")
    click.echo(f"steps of killed trainings that were trained again: {again}; {(time.monotonic() - begin) / 60:.0f} min")
    click.echo(f"torture: {count} kills, {equal} equal, {lost} lost, {failed} faults, {false} false")
    sys.exit(not (equal == count and lost == failed == false == 0))


if __name__ == "__main__":
    main()
