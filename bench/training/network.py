"""The network of a training: built, started from its weights, frozen as the recipe says."""

from pathlib import Path

import torch
from torch import nn

from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.registry.build import build
from cdfss_bench.methods.registry.card import Recipe
from cdfss_bench.methods.registry.name_grammar import Composition
from cdfss_bench.methods.weights.load import load_initial, load_weights
from cdfss_bench.methods.weights.resolve import Weights

from .loader import number_of
from .rates import parameter_groups


def begun(composition: Composition, weights: Weights, init: Path | None, seed: int) -> Method:
    """The network with pretrained backbone and seeded head."""
    network = _built(composition, weights, seed)
    if init is not None:
        load_initial(network, init, weights)
    return network


def freeze(network: Method, recipe: Recipe) -> Method:
    """Takes out of training what the recipe says."""
    network.backbone.freeze(recipe.frozen_stages)
    if not recipe.norm:
        for module in network.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(requires_grad=False)
    return network


def optimizer_of(network: Method, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over what is trained.

    Raises:
        UserError: if nothing is left to train, or in a part that has a rate of its own.
    """
    groups, decay = parameter_groups(network, recipe), recipe.weight_decay
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, weight_decay=decay)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, weight_decay=decay)
    return torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=decay)


def learned(
    network: Method, composition: Composition, weights: Weights, seed: int
) -> dict[str, torch.Tensor]:
    """The host's own entries, and all others that differ from what the backbone file gave."""
    given = _built(composition, weights, seed).state_dict()
    plugins = (*network.stage_plugins, *network.feature_plugins, *network.score_plugins)
    foreign = tuple(f"{plugin.key}." for plugin in plugins if plugin.key)
    own = {key for key in given if not key.startswith(foreign)}
    own -= {network.backbone_prefix + key for key in network.backbone.state_dict()}
    return {
        name: tensor.detach().cpu().clone()
        for name, tensor in network.state_dict().items()
        if name in own or not torch.equal(tensor.cpu(), given[name])
    }


def is_finite(network: nn.Module) -> bool:
    """Whether every parameter and buffer is still a number."""
    tensors = (t for t in network.state_dict().values() if t.is_floating_point())
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _built(composition: Composition, weights: Weights, seed: int) -> Method:
    # Modules draw their initial values from torch's global generator, which is put back after.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number_of(seed, "initialisation"))
        network = build(composition, backbone=weights.backbone)
    load_weights(network, weights)
    return network
