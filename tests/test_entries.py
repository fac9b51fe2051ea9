"""Signatures of functions as schemas of what params.yaml says."""

import pickle
from typing import Annotated

import pytest
from annotated_types import Gt
from pydantic import ValidationError

from pipeline.runtime.entries import Arguments, Entry, Named, one_of


def sgd(variables, *, learning_rate: Annotated[float, Gt(0)], momentum: float = 0.0):
    """A function whose first argument comes from elsewhere."""


def steps(*, epochs: tuple[float, ...], factors: tuple[float, ...] = (1.0,)):
    """A function whose arguments may be wrong together."""
    if len(epochs) != len(factors):
        raise ValueError(f"expected {len(epochs)} factors; received: {len(factors)}")


def linear(*, rate: float = 1.0):
    """One more."""
    if rate > 5:
        raise ValueError(f"expected a rate that it survives; received: {rate}")


class Training(Entry):
    optimizer: one_of({"sgd": sgd, "steps": steps}, reserved=["variables"])
    schedule: one_of({"linear": linear}, check=True) = Named("linear", {})
    model: Arguments = Arguments({})


def test_a_name_chooses_the_function_and_its_signature_the_arguments():
    """Defaults are filled in; lists become tuples; the dump is the flat mapping of the file."""
    training = Training.model_validate(
        {"optimizer": {"name": "sgd", "learning_rate": 0.1}, "schedule": {"name": "linear"}, "model": {"a": [1, 2]}}
    )
    assert training.optimizer.name == "sgd"
    assert dict(training.optimizer.arguments) == {"learning_rate": 0.1, "momentum": 0.0}
    assert training.model_dump(mode="json") == {
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0},
        "schedule": {"name": "linear", "rate": 1.0},
        "model": {"a": [1, 2]},
    }
    assert pickle.loads(pickle.dumps(training)) == training


def test_arguments_do_not_change():
    """Whoever holds the params cannot alter them."""
    named = Named("sgd", {"learning_rate": 0.1})
    with pytest.raises(TypeError):
        named.arguments["learning_rate"] = 1.0
    assert named == Named("sgd", {"learning_rate": 0.1})
    assert named != Named("sgd", {"learning_rate": 0.2})


@pytest.mark.parametrize(
    ("entry", "location", "kind"),
    [
        ({"optimizer": {"name": "sdg"}}, ("optimizer",), "union_tag_invalid"),
        ({"optimizer": {"learning_rate": 1.0}}, ("optimizer",), "union_tag_not_found"),
        ({"optimizer": {"name": "sgd", "learning_rate": 0.0}}, ("optimizer", "sgd", "learning_rate"), "greater_than"),
        ({"optimizer": {"name": "sgd", "learning_rate": 0.1, "variables": 1}}, ("optimizer", "sgd"), "unknown_key"),
        ({"optimizer": {"name": "steps", "epochs": [1.0]}, "schedule": {"name": "linear", "rate": 9.0}}, ("schedule",), "value_error"),
    ],
)  # fmt: skip
def test_what_a_signature_refuses(entry, location, kind):
    """A name, an argument, a range; what is wrong together if the function is called."""
    with pytest.raises(ValidationError) as raised:
        Training.model_validate(entry)
    assert [(error["loc"], error["type"]) for error in raised.value.errors()] == [(location, kind)]
