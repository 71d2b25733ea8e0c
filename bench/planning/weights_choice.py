"""Which weights a method runs with, and whether they may be used."""

from cdfss_bench.datasets import Domain
from cdfss_bench.errors import DataError, WeightsError
from cdfss_bench.methods.registry.name_grammar import Composition
from cdfss_bench.methods.weights.resolve import Weights, resolve_weights

from .hashes import file_hash
from .selection import Selection


def refuse_seen_in_training(weights: Weights, domain: Domain) -> None:
    """Refuse weights on a domain whose images they were trained on.

    Raises:
        DataError: if they were.
    """
    source = weights.card.source if weights.card is not None else {}
    kept_out = float(str(source.get("hold_out", 0)))
    if source.get("domain") != domain.whole or kept_out >= (domain.share_held_out or 1):
        return
    share = domain.share_held_out or kept_out or 0.1
    hint = f"ask '{domain.card.name}[held_out={share:g}]'"
    if share > kept_out:
        hint += f", with weights of a training with --hold-out {share:g}"
    raise DataError(
        f"the weights were trained on images of {domain.title}, so it validates nothing", hint=hint
    )


def weights_of(composition: Composition, selection: Selection, *, on_mini: bool) -> Weights:
    """The weights that a composition runs with.

    On the data of the mini suite (`on_mini`) its own weights are meant.

    Raises:
        WeightsError: if there are none.
    """
    host = composition.host.card
    backbone = selection.backbone if host.backbones else None
    # A control that was not given weights of its own runs with those of its method.
    names = composition.label, composition.label.partition("@")[0]
    checkpoint = next((file for name in names if (file := selection.weights.get(name))), None)
    if checkpoint is not None and not host.backbones:
        raise WeightsError(
            f"{composition.label} has no weights, and {checkpoint} is named for it",
            hint="leave out --weights, or name another method with -m",
        )
    found = resolve_weights(
        composition,
        backbone=backbone,
        checkpoint=checkpoint,
        folders=selection.folders,
        on_mini=on_mini,
    )
    refuse_other_content(found)
    return found


def refuse_other_content(weights: Weights) -> None:
    """Refuse a backbone's file that has its published sha256 in its name and is another file.

    Raises:
        WeightsError: if it is.
    """
    path, entry = weights.pretrained, weights.entry
    if path is None or entry is None or not entry.sha256 or entry.sha256[:8] not in path.stem:
        return
    if not (found := file_hash(path)).startswith(entry.sha256):
        raise WeightsError(
            f"{path} is not the published file of that name: its sha256 begins with {found[:8]}",
            hint=f"cdfss-bench weights fetch {weights.backbone} gets it; call other weights "
            "otherwise",
        )
