"""Schemas of the mappings in params.yaml: known keys only, immutable values, and signatures of functions as schemas."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from operator import or_
from types import FunctionType, ModuleType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from cnnkeras.by_name import unknown

# `keras.utils.set_random_seed` sets NumPy's global generator, whose seed has 32 bits; a `numpy.random.SeedSequence` of
# (seed, number) would split a larger seed into two numbers.
_MAX_SEED = 2**32 - 1


def _in_range(seed: Any) -> Any:
    if isinstance(seed, int) and not 0 <= seed <= _MAX_SEED:
        raise ValueError(f"expected a seed from 0 to {_MAX_SEED}; received: {seed}")
    return seed


Seed = Annotated[int, BeforeValidator(_in_range)]


def _lists_as_tuples(value: Any) -> Any:
    return tuple(map(_lists_as_tuples, value)) if isinstance(value, list) else value


class Entry(BaseModel):
    """A mapping in params.yaml: an unknown key is an error, lists become tuples, and the values cannot be changed."""

    # Strict: `true` is not read as a number, nor "5" as 5, because neither DVC nor a reader of the file reads them so.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, entry: Any) -> Any:
        if isinstance(entry, Mapping):
            for key in entry:
                if key not in cls.model_fields:
                    message = unknown(key, cls.model_fields, "key")
                    raise PydanticCustomError("unknown_key", "{message}", {"key": key, "message": message})
            # YAML has only lists; tuples are immutable.
            return {key: _lists_as_tuples(value) for key, value in entry.items()}
        return entry


class Arguments(Mapping[str, Any]):
    """Immutable keyword arguments of a function: `function(**arguments)`."""

    def __init__(self, arguments: Mapping[str, Any]):
        self._arguments = dict(arguments)

    def __getitem__(self, name: str) -> Any:
        return self._arguments[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arguments)

    def __len__(self) -> int:
        return len(self._arguments)

    def __repr__(self) -> str:
        return repr(self._arguments)

    def dump(self) -> dict[str, Any]:
        """The arguments as a dictionary; an argument that is an `Arguments` itself becomes a dictionary too."""
        return {key: value.dump() if isinstance(value, Arguments) else value for key, value in self.items()}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Schema of a field of an entry: any mapping is valid; a dump has a dictionary."""
        return core_schema.no_info_after_validator_function(
            cls,
            handler.generate_schema(Mapping[str, Any]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.dump),
        )


class Named:
    """A function that params.yaml names, with its checked arguments: `{name: sgd, learning_rate: 0.1}`.

    Attributes:
        name: The function's name.
        arguments: All its keyword arguments; an argument that the file leaves out has the function's default.
    """

    def __init__(self, name: str, arguments: Mapping[str, Any]):
        self.name, self.arguments = name, Arguments(arguments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and self.dump() == other.dump()

    def __repr__(self) -> str:
        return f"Named({self.name!r}, {self.arguments!r})"

    def call(self, module: ModuleType) -> Any:
        """Call the function of this name in a module, with the arguments."""
        return functions(module)[self.name](**self.arguments)

    def dump(self) -> dict[str, Any]:
        """The mapping in params.yaml, with all defaults."""
        return {"name": self.name, **self.arguments}


def arguments_schema(function: Callable, *, reserved: Iterable[str] = (), **fields: Any) -> type[Entry]:
    """Schema of the keyword arguments of a function in params.yaml, from its signature.

    Args:
        function: Its keyword-only arguments become keys. An argument's annotation gives its type and range:
            `Annotated[float, annotated_types.Gt(0)]`; `Annotated[Mapping, other]` holds keyword arguments of the function `other`.
        reserved: Names of keyword-only arguments that the caller supplies and the file may not.
        fields: Further keys, as `pydantic.create_model` takes them.
    """
    parameters = inspect.signature(function).parameters.items()
    arguments = {
        name: (_field_type(parameter.annotation), ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in parameters
        if name not in reserved and parameter.kind is parameter.KEYWORD_ONLY
    }
    return create_model(function.__name__, __base__=Entry, **fields, **arguments)


def _field_type(annotation: Any) -> Any:
    """Type of a field for an argument's annotation; `Annotated[Mapping, function]` becomes the schema of the function's arguments, none any value."""
    if annotation is inspect.Parameter.empty:
        return Any
    if get_origin(annotation) in (Union, UnionType):
        return reduce(or_, map(_field_type, get_args(annotation)))
    function = next(filter(inspect.isfunction, getattr(annotation, "__metadata__", ())), None)
    if function is None:
        return annotation
    checked = AfterValidator(lambda entry: Arguments(dict(entry)))
    return Annotated[arguments_schema(function), checked, PlainSerializer(Arguments.dump)]


def functions(module: ModuleType) -> dict[str, Callable]:
    """The public functions that a module itself defines, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        # Not `isinstance`: it would import a lazily loaded Keras to compare classes.
        if type(value) is FunctionType and value.__module__ == module.__name__ and not name.startswith("_")
    }


def one_of(choices: Mapping[str, Callable], *, reserved: Iterable[str] = (), check: bool = False) -> Any:
    """Type of a field of an entry that names one of several functions and its arguments. The field's value is a `Named`.

    Args:
        choices: The functions by name, such as `functions(module)`.
        reserved: Names of arguments, of any of the functions, that the caller supplies and the file may not.
        check: Call the function to validate: it raises a `ValueError` for arguments that are wrong together.
    """

    def named(entry: Entry) -> Named:
        arguments = {key: getattr(entry, key) for key in type(entry).model_fields if key != "name"}
        if check:
            choices[entry.name](**arguments)
        return Named(entry.name, arguments)

    reserved = tuple(reserved)
    schemas = [
        arguments_schema(function, reserved=reserved, name=(Literal[name], ...)) for name, function in choices.items()
    ]
    union = reduce(or_, schemas) if len(schemas) > 1 else schemas[0]
    tagged = Annotated[union, Field(discriminator="name")] if len(schemas) > 1 else union
    return Annotated[tagged, AfterValidator(named), PlainSerializer(Named.dump)]
