"""The reference vectors of 2024-2026 (`reference/new`), and DINO backbones filled as they state."""

from types import ModuleType

import torch

from cdfss_bench.methods.backbones.card import build_backbone
from cdfss_bench.methods.backbones.transformer import Transformer

from .vectors import StoredVectors


class NewVectors(StoredVectors):
    """One .npz of `new/vectors.json`, its cases by id."""

    manifest = "vectors.json"

    def filled_dino(self, name: str) -> Transformer:
        """The DINO backbone of that card name with the parameters that `vectors.json` states."""
        with torch.device("meta"):
            net = build_backbone(name)
        assert isinstance(net, Transformer)
        return fill_dino(net.to_empty(device="cpu"), self.fill, self.seed)


def fill_dino(net: Transformer, fill: ModuleType, seed: int) -> Transformer:
    """`net`, a DINO of any size, with the parameters that `vectors.json` states."""
    fill.fill(net, seed)
    state = net.state_dict()
    for key, stored in state.items():
        scale = {"pos_embed": 0.5, "cls_token": 1, "register_tokens": 1, "storage_tokens": 1}
        if key in scale:
            drawn = torch.from_numpy(fill.array(key, tuple(stored.shape), seed))
            state[key] = scale[key] * drawn
        elif key == "rope_embed.periods":
            steps = torch.arange(len(stored))
            state[key] = 100 ** (2 * steps / (2 * len(stored)))
        elif key.endswith("bias_mask"):
            mask = torch.ones(3, len(stored) // 3)
            mask[1] = 0
            state[key] = mask.flatten()
    net.load_state_dict(state)
    return net
