"""Checks typed values against a model, with messages that name the option and not its field."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cdfss_bench.cards import validated
from cdfss_bench.errors import UserError, unknown

from .plan_words import flag_of

M = TypeVar("M", bound=BaseModel)


def validated_typed(
    schema: type[M],
    values: Mapping[str, Any],
    where: object,
    typed: Collection[str],
    *,
    spelled: Callable[[str], str] = flag_of,
) -> M:
    """`values` as a model of `schema`.

    Args:
        schema: the model.
        values: of its fields.
        where: a file that values which were not typed come from, for messages; None without one.
        typed: fields whose values were typed.
        spelled: the name of a field as it was typed, such as `--validate-every`.

    Raises:
        UserError: naming the option, or the file and the key, that is wrong.
    """
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = [str(part) for part in first["loc"]]
        if place and place[0] in typed:
            raise _wrong(schema, place[0], spelled(place[0]), first) from error
        if not place and where is None:
            raise UserError(first["msg"].removeprefix("Value error, ")) from error
    return validated(schema, values, where)


def _wrong(schema: type[BaseModel], field: str, option: str, first: Mapping[str, Any]) -> UserError:
    value = first["input"]
    words = get_args(schema.model_fields[field].annotation)
    if first["type"] == "literal_error" and get_origin(schema.model_fields[field].annotation) is (
        Literal
    ):
        nearest = unknown("value", value, map(str, words))
        return UserError(f"{nearest.problem} of {option}", hint=nearest.hint)
    said = first["msg"].removeprefix("Value error, ").replace("Input should be", "it must be")
    said = "it is no path" if first["type"] == "path_type" else said
    hint = None if field == "methods" else f"leave {option} out for the usual value"
    return UserError(f"{option} {value}: {said}", hint=hint)
