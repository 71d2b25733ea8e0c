"""The evaluator on the simulated device: the CPU's counts, and how often it waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cdfss_bench.bench.evaluation.evaluator import Settings
from cdfss_bench.bench.evaluation.feature_cache import FeatureStores
from cdfss_bench.bench.records.counts import Counts
from cdfss_bench.datasets import open_domain
from cdfss_bench.methods import METHODS, build, parse
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.weights.load import load_weights
from cdfss_bench.methods.weights.resolve import resolve_weights
from ..gpu.test_evaluator import PIXELS, asked, counted, largest
from ..support.simulated_device import Waits, counted_waits, largest_tensor
