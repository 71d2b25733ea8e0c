"""What the user can correct: one sentence that says what is wrong and where, then a hint."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the person at the keyboard can correct.

    The command line prints `problem` (and `hint`, where a command or an edit helps) without a
    traceback and exits with code 2. Anything that is not a `UserError` is a defect of ours.
    """

    def __init__(self, problem: str, *, hint: str | None = None) -> None:
        super().__init__(problem if hint is None else f"{problem}\n  hint: {hint}")
        self.problem = problem
        self.hint = hint

    def reword(self, problem: str, hint: str | None) -> None:
        """Say the same in other words, as for a caller who typed other names."""
        UserError.__init__(self, problem, hint=hint)


class DataError(UserError):
    """A data set, an image, a mask or a list is not what its domain expects."""


class WeightsError(UserError):
    """Weights are missing, unreadable, or do not belong to the method."""


class CompositionError(UserError):
    """A method name cannot be built: unknown part, unknown option, impossible combination."""


class RecordError(UserError):
    """A stored result cannot be read, written, or trusted."""


def refuse_no_text(kind: str, name: object) -> None:
    """Refuse what is no text where the name of a method, domain or backbone is meant.

    Raises:
        UserError: saying what was given instead.
    """
    if not isinstance(name, str):
        raise UserError(f"a {kind} is named by a text, not by {name!r} ({type(name).__name__})")


def unknown(
    kind: str, name: str, known: Iterable[str], *, error: type[UserError] = UserError
) -> UserError:
    """The error for a name nobody knows, with the nearest known names."""
    choices, name = sorted(known), str(name)  # from Python anything may come
    # Papers write HSNet and SSP: capitals are no distance.
    plain = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), plain, n=3, cutoff=0.5)
    if close:
        nearest = " or ".join(plain[match] for match in close)
        return error(f"unknown {kind} '{name}'", hint=f"did you mean {nearest}?")
    return error(f"unknown {kind} '{name}'", hint=f"known are: {', '.join(choices) or 'none'}")
