"""State-dict keys as the published implementations spell them.

Ours is always `backbone.`; some published networks hold their backbone's entries without a prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


def publish_with_prefix(network: nn.Module, published: str) -> None:
    """Lets state dicts of `network` have `published`, maybe empty, in the place of `backbone.`."""
    if published == "backbone.":
        return

    def publish(
        _module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Mapping[str, Any]
    ) -> None:
        ours = f"{prefix}backbone."
        for key in list(state):
            value = state.pop(key)  # every entry is moved, so that their order stays
            own = key.startswith(ours)
            state[prefix + published + key[len(ours) :] if own else key] = value

    def adopt(module: nn.Module, state: dict[str, Any], prefix: str, *_ignored: object) -> None:
        children = {key.split(".", 1)[0] for key in module.get_submodule("backbone").state_dict()}
        for key in list(state):
            if key.startswith(prefix + published):
                rest = key[len(prefix + published) :]
                if rest.split(".", 1)[0] in children:
                    state[f"{prefix}backbone.{rest}"] = state.pop(key)

    network.register_state_dict_post_hook(publish)
    network.register_load_state_dict_pre_hook(adopt)


def publish_as(network: nn.Module, ours: str, published: str) -> None:
    """Lets state dicts of `network` have the prefix `published` in the place of `ours`."""

    def rename(state: dict[str, Any], old: str, new: str) -> None:
        for key in list(state):
            value = state.pop(key)  # every entry is moved, so that their order stays
            state[new + key[len(old) :] if key.startswith(old) else key] = value

    def publish(
        _module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Mapping[str, Any]
    ) -> None:
        rename(state, prefix + ours, prefix + published)

    def adopt(_module: nn.Module, state: dict[str, Any], prefix: str, *_ignored: object) -> None:
        rename(state, prefix + published, prefix + ours)

    network.register_state_dict_post_hook(publish)
    network.register_load_state_dict_pre_hook(adopt)
