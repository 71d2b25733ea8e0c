"""Methods with weights files that hold all that training makes."""

from safetensors import safe_open

from cdfss_bench.errors import WeightsError
from cdfss_bench.methods.core.contract import Precision
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.name_grammar import Composition
from cdfss_bench.methods.weights.resolve import Weights

from .prediction import load_method


def load_complete(
    composition: Composition, weights: Weights, *, precision: Precision = "fp32"
) -> Method:
    """`load_method`, where a file of `train` holds every parameter of the method's own.

    On top of a backbone's file it holds only what training changed; a part that it lacked would be
    as constructed, which is at random.

    Raises:
        WeightsError: if a file does not fit, or lacks a part.
    """
    network = load_method(composition, weights, precision=precision)
    if weights.checkpoint is None or weights.card is None or not weights.card.base:
        return network
    with safe_open(weights.checkpoint, "np") as file:  # pyright: ignore[reportUnknownVariableType]
        held = {str(name) for name in file.keys()}  # pyright: ignore  # noqa: SIM118
    own = {id(parameter) for parameter in network.head()}
    lacking = [
        name
        for name, parameter in network.state_dict(keep_vars=True).items()
        if id(parameter) in own
        and name not in held
        and not name.startswith(network.keys_without_training)
    ]
    if lacking or not held:
        more = f" and {len(lacking) - 1} more entries" if len(lacking) > 1 else ""
        what = f"'{lacking[0]}'{more}, which training makes" if lacking else "all weights"
        raise WeightsError(
            f"{weights.checkpoint} lacks {what}", hint="use the file as `train` wrote it"
        )
    return network
