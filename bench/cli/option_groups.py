"""Options that several verbs share, declared once as the fields of a dataclass."""

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclasses.dataclass(frozen=True)
class Only:
    """Limits an option group to some of its fields: `Annotated[Group, Only("domains")]`.

    Attributes:
        names: of the fields; none for all of them.
        environment: whether environment variables give them values.
    """

    names: tuple[str, ...]
    environment: bool

    def __init__(self, *names: str, environment: bool = True) -> None:
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "environment", environment)


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give typer each field of a dataclass parameter as a parameter of its own.

    The command is called with an instance of the dataclass; fields that `Only` leaves out keep
    their defaults.

    Raises:
        ValueError: if `Only` names a field that the group does not have.
    """
    groups: dict[str, tuple[type, list[inspect.Parameter]]] = {}
    expanded: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        group, only = _group_of(parameter.annotation)
        if group is None:
            expanded.append(parameter)
            continue
        fields = list(_fields(group, only))
        groups[parameter.name] = (group, fields)
        expanded += fields

    @functools.wraps(command)
    def call(**typed: Any) -> None:
        made = {
            name: group(**{field.name: typed.pop(field.name) for field in fields})
            for name, (group, fields) in groups.items()
        }
        command(**typed, **made)

    keyword_only = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in expanded]
    call.__signature__ = inspect.Signature(keyword_only)  # pyright: ignore[reportAttributeAccessIssue]
    call.__annotations__ = {each.name: each.annotation for each in expanded}
    return call


def _group_of(annotation: Any) -> tuple[type | None, Only]:
    kind, *extras = get_args(annotation) if get_origin(annotation) is Annotated else [annotation]
    only = next((extra for extra in extras if isinstance(extra, Only)), Only())
    is_group = isinstance(kind, type) and dataclasses.is_dataclass(kind)
    return (kind if is_group else None), only


def _fields(group: type, only: Only) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(group)}
    if unknown := set(only.names) - set(fields):
        raise ValueError(f"{group.__name__} has no field {min(unknown)}")
    for name, field in fields.items():
        if not only.names or name in only.names:
            yield inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=hints[name] if only.environment else _without_variable(hints[name]),
            )


def _without_variable(annotation: Any) -> Any:
    kind, option = get_args(annotation)
    option = copy.copy(option)
    option.envvar = None
    return Annotated[kind, option]
