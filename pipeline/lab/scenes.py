"""Test scenes of digits for claims that look at trained models: with two digits each, drawn as those of the default params.yaml."""

from pipeline.sources.digit_scenes.drawing import Scene, draw_scene
from pipeline.sources.digit_scenes.entry import CLASSES as DIGITS
from pipeline.sources.digit_scenes.entry import Source

TEST_SCENES = 400  # in the default params.yaml
SEED = 2  # of the scenes in the default params.yaml; with it, the models have not seen the digits of the test split
CLASSES = len(DIGITS)


def draw(number: int) -> Scene:
    """A test scene by its number, from 0."""
    source = Source(
        kind="digit_scenes",
        seed=SEED,
        scenes={"train": 1, "val": 1, "test": 1},
        digits_per_scene=(0.0, 1.0),
        scene_size=(96, 112),
        digit_height=(50, 72),
        max_covered_fraction=0.1,
    )
    return draw_scene(source, "test", number)
