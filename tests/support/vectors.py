"""Reading the reference vectors: what is stored, what of an output it is compared with."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdfss_bench.methods.blocks.voting import foreground
from cdfss_bench.methods.core.contract import EpisodeBatch
from cdfss_bench.methods.core.feature_batch import FeatureBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.hosts.hsnet import HSNet
from cdfss_bench.methods.hosts.patnet import PATNet

Net = TypeVar("Net", bound=Method)


class StoredVectors:
    """One .npz of a manifest, its cases by id."""

    manifest: ClassVar[str]
    """The JSON file that describes the cases."""
    folder: ClassVar[str] = "reference/new"
    """Where the manifest and its files lie in shared/."""

    def __init__(self, folder: Path, name: str, fill: ModuleType):
        stated = json.loads((folder / self.manifest).read_text())
        self.seed: int = stated.get("seed", 0)
        self.cases: dict[str, dict[str, Any]] = {
            case["id"]: case for case in stated["files"][name]["cases"]
        }
        self.arrays: Mapping[str, Any] = np.load(folder / name)
        self.fill = fill

    def input(self, name: str, shape: Iterable[int], kind: str = "normal") -> Tensor:
        """One input."""
        return torch.from_numpy(self.fill.array(name, tuple(shape), self.seed, kind))

    def check(self, case: str, array: str, got: Tensor) -> None:
        """Compares one output with what is stored of it, at the stored tolerance."""
        spec = self.output(case, array)
        value: NDArray[Any] = got.detach().cpu().numpy()
        assert list(value.shape) == spec["shape"], array
        stored = self.arrays[spec["array"]]
        if "flat_index" in spec:
            value = value.ravel()[self.arrays[spec["flat_index"]]]
        elif spec["stored"] != "whole":
            expected = np.unpackbits(stored)[: value.size].reshape(value.shape)
            assert np.mean(expected != value) <= spec["mismatch_allowed"], array
            return
        if "atol" not in spec:
            np.testing.assert_array_equal(value, stored, err_msg=array)
            return
        np.testing.assert_allclose(value, stored, rtol=0, atol=spec["atol"], err_msg=array)
        for share in (75, 99):
            if (atol := spec.get(f"atol_p{share}")) is not None:
                assert np.percentile(np.abs(value - stored), share) <= atol, array

    def output(self, case: str, array: str) -> dict[str, Any]:
        """What the manifest says of one output."""
        return next(o for o in self.cases[case]["outputs"] if o["array"] == array)


Kind = TypeVar("Kind", bound=StoredVectors)


def stored_vectors(kind: type[Kind], name: str) -> Any:
    """A fixture of a test module: one .npz of that kind."""

    @pytest.fixture(scope="module")
    def vectors(shared: Path, fill: ModuleType) -> Kind:
        return kind(shared / kind.folder, name, fill)

    return vectors


class Vectors(StoredVectors):
    """One .npz of `hsnet_patnet_apm.json`, its cases by id."""

    manifest = "hsnet_patnet_apm.json"
    folder = "reference"

    def inputs(self, case: str) -> dict[str, Tensor]:
        """The case's inputs by name."""
        return {
            spec["name"]: self.input(spec["name"], spec["shape"], spec["kind"])
            for spec in self.cases[case]["inputs"]
        }

    def episode(self, case: str) -> tuple[Tensor, Tensor, Tensor]:
        """Query [B, 3, H, W], supports [B, K, 3, H, W], their masks [B, K, H, W]."""
        inputs = self.inputs(case)
        shots = sum(name.startswith("support_img") for name in inputs)
        images = torch.stack([inputs[f"support_img.{s}"] for s in range(shots)], dim=1)
        masks = torch.stack([inputs[f"support_mask.{s}"] for s in range(shots)], dim=1)
        return inputs["query_img"], images, masks


def check_training(vectors: Vectors, case: str, net: Method) -> None:
    """Three steps of Adam: the losses, the first step's gradients, and where there are none."""
    query_masks = vectors.inputs(case)["query_mask"].to(torch.uint8)
    query_images, support_images, support_masks = vectors.episode(case)
    batch = EpisodeBatch(query_images, query_masks, support_images, support_masks)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    losses: list[Tensor] = []
    for step in range(3):
        optimizer.zero_grad()
        loss = net.loss(batch)
        loss.backward()
        losses.append(loss.detach())
        if step == 0:
            _check_gradients(vectors, case, net)
        optimizer.step()
    vectors.check(case, f"{case}.loss", torch.stack(losses))
    # The first loss does not carry the optimiser's sign noise.
    assert abs(float(losses[0]) - float(vectors.arrays[f"{case}.loss"][0])) <= 1e-4


def _check_gradients(vectors: Vectors, case: str, net: Method) -> None:
    for spec in vectors.cases[case]["outputs"]:
        head, _, key = spec["array"].partition(".grad.")
        if key:
            gradient = net.get_parameter(key).grad
            assert gradient is not None
            vectors.check(case, f"{head}.grad.{key}", gradient)
    for key in vectors.cases[case].get("no_gradient", ["backbone."]):
        still = [p for name, p in net.named_parameters() if name.startswith(key)]
        assert still
        assert all(p.grad is None for p in still)


def overridden(vectors: Vectors, case: str, net: Net) -> Net:
    """`net` with the entries that the case states."""
    stated = vectors.cases[case].get("overrides", {})
    changed = {key: torch.tensor(literal) for key, literal in stated.items()}
    net.load_state_dict({**net.state_dict(), **changed})
    return net


def check_whole_model(vectors: Vectors, case: str, net: HSNet | PATNet) -> None:
    """Correlations, scores and masks of one-shot episodes, as far as they are stored."""
    query_images, support_images, support_masks = vectors.episode(case)
    with torch.no_grad():
        query = net.encode(query_images)
        states = net.encode_support(net.encode(support_images[:, 0]), support_masks[:, 0])
        rows = FeatureBatch.cat(cast("list[FeatureBatch]", states))
        correlations = net.correlate(net.apply_feature_plugins(query), rows)
        for layer, correlation in zip((4, 3, 2), correlations, strict=True):
            vectors.check(case, f"{case}.corr.layer{layer}", correlation)
        low = net.match_states(query, states, shots=1)
        vectors.check(case, f"{case}.logits_low", low[:, 0])
        full = net.logits(query_images, support_images, support_masks)
        if any(spec["array"] == f"{case}.logits" for spec in vectors.cases[case]["outputs"]):
            vectors.check(case, f"{case}.logits", full[:, 0])
        mask = net.predict(query_images, support_images, support_masks)
    vectors.check(case, f"{case}.mask", mask)


def check_votes(vectors: Vectors, case: str, net: Method) -> None:
    """The mask of each of five shots, and the one that they vote for."""
    inputs = vectors.episode(case)
    with torch.no_grad():
        per_shot = foreground(net.logits(*inputs)).to(torch.uint8)
        vectors.check(case, f"{case}.per_shot", per_shot)
        vectors.check(case, f"{case}.mask", net.predict(*inputs))


class Scenes:
    """One .npz of `ssp_dra_ifa.json`, with its scenes."""

    def __init__(self, folder: Path, name: str, fill: ModuleType):
        manifest = json.loads((folder / "ssp_dra_ifa.json").read_text())
        self.spec: dict[str, Any] = next(f for f in manifest["files"] if f["file"] == name)
        self.arrays: Mapping[str, Any] = np.load(folder / name)
        self.fill = fill

    def array(self, name: str, shape: Iterable[int], kind: str = "normal") -> Tensor:
        """One input."""
        return torch.from_numpy(self.fill.array(name, tuple(shape), 0, kind))

    def scene(
        self, name: str, cls: str, batch: int, height: int, width: int
    ) -> tuple[Tensor, Tensor]:
        """(image [B, 3, H, W], mask [B, H, W]) as the manifest words it."""
        mask = self.array(f"{name}.mask", (batch, height, width), "mask")
        noise = self.array(f"{name}.noise", (batch, 3, height, width))
        fore = self.array(f"{cls}.fg", (3,))[None, :, None, None]
        back = self.array(f"{cls}.bg", (3,))[None, :, None, None]
        return 0.5 * noise + mask[:, None] * fore + (1 - mask[:, None]) * back, mask

    def episode(self, case: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Query [B, 3, H, W], its mask [B, H, W], supports [B, K, 3, H, W], masks [B, K, H, W]."""
        spec = self.spec["inputs"][case]
        batch, _, height, width = spec["shape"]
        query, query_mask = self.scene(spec["query"], spec["cls"], batch, height, width)
        pairs = [self.scene(n, spec["cls"], batch, height, width) for n in spec["supports"]]
        images = torch.stack([image for image, _ in pairs], dim=1)
        return query, query_mask, images, torch.stack([mask for _, mask in pairs], dim=1)

    def check(self, array: str, got: Tensor) -> None:
        """Compares one output with what is stored of it, at the stored tolerance."""
        spec = self.spec["outputs"][array]
        value: NDArray[Any] = got.detach().numpy()
        assert list(value.shape) == spec["shape"], array
        stored = self.arrays[array]
        if f"{array}__idx" in self.arrays:
            value = value.ravel()[self.arrays[f"{array}__idx"]]
        if "rel_l2" in spec:
            difference = np.linalg.norm(value - stored) / np.linalg.norm(stored)
            assert difference <= spec["rel_l2"], array
        else:
            np.testing.assert_allclose(
                value, stored, rtol=spec.get("rtol", 0), atol=spec.get("atol", 0), err_msg=array
            )


OpenScenes = Callable[[str], Scenes]
