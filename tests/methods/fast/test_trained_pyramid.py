"""HSNet's matching in training: the plain losses and gradients, up to rounding."""

import pytest
import torch
from torch import Tensor

from cdfss_bench.methods import build, parse
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.fast.trained_pyramid import trained_score
from cdfss_bench.methods.hosts.hsnet import HSNet


def _gradients(network: HSNet, logits: Tensor) -> dict[str, Tensor]:
    network.zero_grad(set_to_none=True)
    weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view(logits.shape)
    (logits * weights.sin()).sum().backward()
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("name", "side"), [("hsnet", 200), ("patnet", 128)])
def test_logits_and_gradients_are_the_plain_ones(name: str, side: int) -> None:
    network = seeded(build(parse(name), backbone="resnet-mini")).double().train()
    assert isinstance(network, HSNet)
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, side, side, generator=rng, dtype=torch.float64)
    masks = torch.zeros(2, side, side)
    masks[0, 20:70, 30:100] = 1  # the second is empty
    with torch.no_grad():
        query, support = network.features(images[:2]), network.features(images[2:])
        states = network.support_states(support, masks)
    fast = trained_score(network)
    assert fast is not None
    plain = network.score(query, states, shots=1)
    found = fast(query, states, shots=1)
    torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-9)
    expected, gradients = _gradients(network, plain), _gradients(network, found)
    assert gradients.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(gradients[key], gradient, rtol=1e-6, atol=1e-8, msg=key)


def test_mixed_precision_scores_as_the_plain_form() -> None:
    network = seeded(build(parse("hsnet"), backbone="resnet-mini"))
    assert isinstance(network, HSNet)
    fast = trained_score(network)
    assert fast is not None
    masks = torch.ones(1, 128, 128)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rows = network.features(torch.ones(1, 3, 128, 128))
        states = network.support_states(rows, masks)
        plain = network.score(rows, states, shots=1)
        assert torch.equal(fast(rows, states, shots=1), plain)


def test_a_network_that_scores_otherwise_keeps_its_score() -> None:
    class Other(HSNet):
        def score(self, *_: object, **__: object) -> Tensor:
            return torch.zeros(1)

    plain = build(parse("hsnet"), backbone="resnet-mini")
    plain.__class__ = Other
    assert trained_score(plain) is None
    assert trained_score(build(parse("ssp"), backbone="resnet-mini")) is None
