"""The network that answers a cell: built, its weights loaded, its precision set."""

from __future__ import annotations

from cdfss_bench.methods.core.contract import Precision
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.build import build
from cdfss_bench.methods.registry.name_grammar import Composition
from cdfss_bench.methods.weights.resolve import Weights, load_weights


def network_of(
    composition: Composition, weights: Weights, *, precision: Precision = "fp32"
) -> Method:
    """The method in eval mode with its weights.

    Args:
        composition: the method.
        weights: its files.
        precision: of the encoding.

    Raises:
        WeightsError: if a file does not fit.
    """
    network = build(composition, backbone=weights.backbone or None)
    load_weights(network, weights)
    network.precision = precision
    return network.eval()
