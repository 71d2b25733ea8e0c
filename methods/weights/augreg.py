"""Google's vision transformers as they are published: `.npz` files of JAX arrays.

FPTrans begins with such a file (AugReg, Steiner et al. 2021). Names and layouts become timm's:
kernels are stored input first, the three projections of an attention apart, each head apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdfss_bench.errors import WeightsError

from .file_kinds import unreadable

Arrays = dict[str, NDArray[np.float32]]

_ATTENTION, _MLP = "MultiHeadDotProductAttention_1", "MlpBlock_3"


def read_augreg(path: Path) -> dict[str, Tensor]:
    """The entries of a published `.npz` under timm's keys, float32.

    Raises:
        WeightsError: if the file is damaged or holds another network.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: Arrays = {name: np.asarray(file[name], np.float32) for name in file.files}
    except Exception as error:  # a damaged file fails in NumPy in any of a dozen ways
        raise unreadable(path, ".npz", "it is damaged or no plain arrays") from error
    try:
        entries = _embedding(arrays)
        index = 0
        while f"Transformer/encoderblock_{index}/LayerNorm_0/scale" in arrays:
            entries |= _block(arrays, index)
            index += 1
    except KeyError as error:
        raise WeightsError(
            f"{path} lacks {error}, so it is not one of Google's vision transformers",
            hint="see which files `cdfss-bench weights list` names",
        ) from error
    return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in entries.items()}


def _embedding(arrays: Arrays) -> Arrays:
    return {
        "cls_token": arrays["cls"],
        "pos_embed": arrays["Transformer/posembed_input/pos_embedding"],
        # height, width, input, output
        "patch_embed.proj.weight": arrays["embedding/kernel"].transpose(3, 2, 0, 1),
        "patch_embed.proj.bias": arrays["embedding/bias"],
        "norm.weight": arrays["Transformer/encoder_norm/scale"],
        "norm.bias": arrays["Transformer/encoder_norm/bias"],
    }


def _block(arrays: Arrays, index: int) -> Arrays:
    theirs, ours = f"Transformer/encoderblock_{index}", f"blocks.{index}"
    parts = [f"{theirs}/{_ATTENTION}/{name}" for name in ("query", "key", "value")]
    # input, head, width of a head: flattened to rows of outputs
    kernels = [arrays[f"{part}/kernel"] for part in parts]
    found = {
        f"{ours}.attn.qkv.weight": np.concatenate([k.reshape(len(k), -1).T for k in kernels]),
        f"{ours}.attn.qkv.bias": np.concatenate([arrays[f"{p}/bias"].ravel() for p in parts]),
    }
    out = arrays[f"{theirs}/{_ATTENTION}/out/kernel"]
    found[f"{ours}.attn.proj.weight"] = out.reshape(-1, out.shape[-1]).T
    found[f"{ours}.attn.proj.bias"] = arrays[f"{theirs}/{_ATTENTION}/out/bias"]
    for number, name in enumerate(("LayerNorm_0", "LayerNorm_2"), start=1):
        found[f"{ours}.norm{number}.weight"] = arrays[f"{theirs}/{name}/scale"]
        found[f"{ours}.norm{number}.bias"] = arrays[f"{theirs}/{name}/bias"]
    for number in (1, 2):
        dense = f"{theirs}/{_MLP}/Dense_{number - 1}"
        found[f"{ours}.mlp.fc{number}.weight"] = arrays[f"{dense}/kernel"].T
        found[f"{ours}.mlp.fc{number}.bias"] = arrays[f"{dense}/bias"]
    return found
