"""Recipes on what the mirror of real data has of their data sets: `python -m tests.recipe_parts camvid > params.yaml` prints one.

The mirror has all images of BCCD and of Fashion-MNIST, packed otherwise than their publishers do, and parts of the others.
"""

import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

RECIPES = Path(__file__).parents[1] / "recipes"
_VOC = {
    "files": [
        {"name": "voc2012-subset.tar", "sha256": "3d49935b847317a2fbc917abf44e37878b2ab81a48f715118afaffcf234a2009"}
    ],
    "root": "VOCdevkit/VOC2012",
    "splits": {"train": "train", "val": 0.15, "test": "val", "seed": 0},
}
# By recipe and source, the keys of the source's entry that differ; an entry with another `kind` takes the place of the recipe's.
PARTS: dict[str, dict[str, dict[str, Any]]] = {
    "bccd": {
        "bccd": {
            "files": [
                {"name": "bccd.zip", "sha256": "d508cbb0e9841d56834ad7f3cc2f1220c3e9034761f65f340315af493433a0da"}
            ],
            "root": "BCCD_Dataset/BCCD",
        }
    },
    "camvid": {
        "camvid": {
            "files": [
                {
                    "name": "camvid-subset.tar",
                    "sha256": "5134bae7fbf39ecce31e688fbad59e7ff31a04f57d251b3fd1d71bffc5230415",
                }
            ],
            "root": "CamVid",
        }
    },
    "cifar10": {
        "cifar10": {
            "kind": "image_folder",
            "files": [
                {
                    "name": "cifar10-jpeg-subset.tar",
                    "sha256": "f1dab9a72e17efa8cc6960b3e92c4eafaddc0de595ea01291aa14142695d96ca",
                }
            ],
            "root": "cifar10",
            "folders": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
            "splits": {"train": "train", "val": 0.1, "test": "test", "seed": 0},
        }
    },
    "imagenette": {
        "imagenette": {
            "files": [
                {
                    "name": "imagenette-subset.tgz",
                    "sha256": "cf9cc9775c1d017ef0f5bb8593c36366e05d82f4840a647213b3b15cefecd923",
                }
            ],
            "root": "imagenette2",
        }
    },
    "voc": {"voc0712": _VOC, "voc2012": _VOC},
}


def yaml() -> YAML:
    """Keeps the order of experiments, in which one starts from another, and quotes: DVC does not take a question mark without them."""
    round_trip = YAML()
    round_trip.preserve_quotes = True
    return round_trip


def read(recipe: str) -> dict[str, Any]:
    """A recipe's params, with the mirror's part of its data sets."""
    params = yaml().load(RECIPES / f"{recipe}.yaml")
    for name, part in PARTS.get(recipe, {}).items():
        if "kind" in part:
            params["sources"][name] = part
        else:
            params["sources"][name].update(part)
    return params


if __name__ == "__main__":
    yaml().dump(read(sys.argv[1]), sys.stdout)
