"""What the published code of a method computes where ours gives the same with fewer operations.

A table of costs that says only what runs here would flatter us, and one that says only what was
published would hide what can be had. Each class says it of itself (`Method.published_work`).
"""

from __future__ import annotations

from torch import Tensor

from .contract import PublishedWork
from .feature_batch import FeatureBatch
from .method import Method


def published_work(
    method: Method, query: FeatureBatch, support: FeatureBatch, masks: Tensor
) -> PublishedWork | None:
    """How the published code does this episode; None where that is not known.

    It is not known of plug-ins that correct scores and of learning at test: no such code was
    published (LCM, APM's fine-tuning, TFI), or it does another thing (IFA's). Nor is it known of a
    class that does not say it itself: what somebody derives from SSP was not published by SSP's
    authors. The arguments are those of `Method.published_work`.
    """
    says = "published_work" in vars(type(method))
    if not says or method.adaptation != "none" or method.score_plugins:
        return None
    return method.published_work(query, support, masks)
