"""Published checkpoints as safetensors with a card: read safely, checked against the network."""

from __future__ import annotations

from pathlib import Path

from cdfss_bench.canonical import file_sha256
from cdfss_bench.errors import WeightsError

from ..registry.build import build
from ..registry.name_grammar import Composition
from .card import Selection, WeightsCard
from .checkpoints import load_into, read_checkpoint, refuse_bare_backbone, write_checkpoint
from .search import trained_name
from .state_dicts import fitted


def convert(
    source: Path,
    output: Path,
    composition: Composition,
    *,
    backbone: str,
    selection: Selection = "unknown",
    origin: str = "",
    entry: str = "",
) -> list[str]:
    """Writes the published checkpoint `source` as `output`, a file that `run` finds by itself.

    Every entry is checked by name and shape. What the network does not compute with (a classifier
    that nobody calls) is left out.

    Args:
        source: a file of `torch.save` or a safetensors file with the whole network.
        output: the safetensors file.
        composition: what the checkpoint was trained as.
        backbone: on which backbone.
        selection: how its authors chose it among all of their training, if they say.
        origin: where it came from, for the card; by default the file's name.
        entry: which state dict is meant, where the file holds several.

    Returns:
        The entries that were left out.

    Raises:
        WeightsError: if the file is unreadable, or an entry is missing, foreign or misshapen.
    """
    if output.exists():
        raise WeightsError(f"{output} already exists", hint="name another with -o")
    network = build(composition, backbone=backbone)
    checkpoint = read_checkpoint(source, entry)
    if not network.head():
        refuse_bare_backbone(checkpoint)
    left = load_into(
        network, checkpoint.tensors, path=source, unused=network.unused_keys, complete=True
    )
    expected = network.state_dict()
    given = fitted(checkpoint.tensors, expected.keys(), path=source)
    kept = {name: tensor for name, tensor in given.items() if name in expected}
    card = WeightsCard(
        trained_as=trained_name(composition),
        backbone=backbone,
        selection=selection,
        origin=f"{origin or source.name} (sha256 {file_sha256(source)})",
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(output, kept, card)
    return left
