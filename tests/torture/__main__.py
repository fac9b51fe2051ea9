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
from dataclasses import dataclass
from pathlib import Path

import click

from tests.killed_training import VARIABLES
from tests.torture import faults, kills, trainings
from tests.torture.place import REPRO, Place, lay_out, must


@dataclass
class Sums:
    """What the last line says."""

    kills: int = 0
    equal: int = 0
    lost: int = 0
    faults: int = 0
    false: int = 0
    again: int = 0

    def __str__(self) -> str:
        return f"{self.kills} kills, {self.equal} equal, {self.lost} lost, {self.faults} faults, {self.false} false"

    @property
    def is_good(self) -> bool:
        """Whether nothing went wrong."""
        return self.equal == self.kills and self.lost == self.faults == self.false == 0


@click.command()
@click.option("--kills", "count", default=50, show_default=True, type=click.IntRange(min=0))
@click.option("--seed", default=0, show_default=True)
@click.option("--training-kills", default=10, show_default=True, type=click.IntRange(min=0), help="Of one training.")
@click.option("--with-faults/--without-faults", default=True, help="Make all the other faults too.")
def main(count: int, seed: int, training_kills: int, with_faults: bool) -> None:
    """Torture a small project."""
    begin, sums = time.monotonic(), Sums()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        base = Path(folder).resolve()
        reference = lay_out(base / "reference")
        must(reference, *REPRO)
        must(reference, "git", "add", "--all")
        expected = reference.results()
        click.echo(f"the run that nobody kills: {len(expected)} files in {time.monotonic() - begin:.0f} s")
        for number in range(count):
            _kill(reference, base / "killed", expected, random.Random(f"{seed} {number}"), sums)
        for backend in VARIABLES if training_kills else ():
            _kill_a_training(base, backend, training_kills, random.Random(f"{seed} {backend}"), sums)
        for fault in faults.ALL if with_faults else ():
            rng = random.Random(f"{seed} {fault.__name__}")
            wrong = list(fault(reference, base / "faulty", expected, rng))
            sums.false += sum(sentence.startswith("false: ") for sentence in wrong)
            sums.faults += sum(not sentence.startswith("false: ") for sentence in wrong)
            click.echo(f"{fault.__name__.replace('_', ' ')}: {'; '.join(wrong) or 'as it has to be'}")
    minutes = (time.monotonic() - begin) / 60
    click.echo(f"steps of killed trainings that were trained again: {sums.again}; {minutes:.0f} min")
    click.echo(f"torture: {sums}")
    sys.exit(not sums.is_good)


def _kill(reference: Place, folder: Path, expected: dict[str, str], rng: random.Random, sums: Sums) -> None:
    """One kill of the project's commands, and what the next run makes of it."""
    what, verdict = kills.kill_one(reference, folder, expected, rng)
    sums.kills += 1
    sums.equal += verdict.is_equal
    sums.lost += bool(verdict.lost)
    sums.faults += bool(verdict.faults)
    sums.false += verdict.is_false
    sums.again += verdict.trained
    click.echo(f"kill {sums.kills}: {what}: {'; '.join(verdict.faults + verdict.lost) or 'equal'}")


def _kill_a_training(base: Path, backend: str, count: int, rng: random.Random, sums: Sums) -> None:
    """Many kills of one training, whose outputs are compared at its end."""
    report = trainings.compare(base, backend, count, rng)
    sums.false += report.killed != report.undisturbed
    sums.lost += bool(report.again)
    sums.again += report.again
    click.echo(
        f"a training by {backend}, {report.kills} kills: its outputs have the hash {report.killed}; "
        f"undisturbed {report.undisturbed}; {report.again} steps trained again"
    )


if __name__ == "__main__":
    main()
