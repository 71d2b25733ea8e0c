"""Which results a report is about, by what their backbones have seen."""

from collections.abc import Sequence

from cdfss_bench.errors import UserError, unknown

from ..records.results import RunResult


def pretrained_on(wanted: Sequence[str], found: Sequence[RunResult]) -> list[RunResult]:
    """Results of backbones whose pretraining begins with one of `wanted`, and without a backbone.

    Raises:
        UserError: if no backbone was pretrained on one of them.
    """
    known = sorted({one.record.weights.pretraining for one in found} - {""})
    for word in wanted:
        if not any(name.lower().startswith(word.lower()) for name in known):
            raise unknown("pretraining", word, known)
    begins = tuple(word.lower() for word in wanted)
    return [
        one
        for one in found
        if not (own := one.record.weights.pretraining.lower()) or own.startswith(begins)
    ]


def of_size(wanted: Sequence[int], found: Sequence[RunResult]) -> list[RunResult]:
    """Results of backbones that see images of one of the sizes, and without a backbone.

    Raises:
        UserError: if none sees one of them.
    """
    known = sorted({one.record.method.input_size for one in found} - {0})
    for size in wanted:
        if size not in known:
            raise UserError(
                f"no backbone of these records sees images of {size} pixels",
                hint=f"the sizes are {', '.join(map(str, known)) or 'not known'}",
            )
    return [one for one in found if one.record.method.input_size in (0, *wanted)]
