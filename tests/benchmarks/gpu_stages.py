"""What `gpu_day.py` measures, stage by stage; each row is written as soon as it is known."""

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from against_plain import Example, network
from full_protocol import Enlarged, plain, spent

from cdfss_bench.bench.cost.latency import latency
from cdfss_bench.bench.cost.profile import cost_of
from cdfss_bench.bench.evaluation.evaluator import Settings, evaluate
from cdfss_bench.bench.evaluation.feature_cache import FeatureStores
from cdfss_bench.bench.records.environment import cpu_model, describe
from cdfss_bench.bench.runtime.allocator import keep_memory
from cdfss_bench.bench.runtime.memory import spare
from cdfss_bench.bench.runtime.precision import exact_fp32
from cdfss_bench.bench.training.distributed import Objective, Processes
from cdfss_bench.bench.training.network import freeze, optimizer_of
from cdfss_bench.methods import METHODS, build, parse
from cdfss_bench.methods.conformance.probe import episodes as drawn_episodes
from cdfss_bench.methods.conformance.probe import seeded
from cdfss_bench.methods.core.contract import EpisodeBatch
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.fast.folded import folded

DOMAINS = ("fss1000", "deepglobe", "isic", "chestxray")
PLAIN = ("ssp", "loec", "hsnet", "patnet")
"""What the plain evaluator has a form of."""
PROTOCOL = (
    "ssp bf16", "ssp fp32", "hsnet fp32", "patnet fp32", "loec fp32", "hsnet bf16", "patnet bf16",
    "loec bf16",
)  # fmt: skip
ROWS = (
    "ssp", "hsnet", "loec", "patnet", "dra", "fptrans", "ssp-vit", "loec-vit", "ifa", "apm-s",
    "apm-m", "patnet+tfi", "hsnet+finetune", "prototype",
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """Where a stage writes its rows, and when it must begin nothing new."""

    lines: Path
    ends: float
    device: str
    methods: tuple[str, ...] = ()

    @property
    def is_small(self) -> bool:
        """On a CPU everything is done in miniature."""
        return not self.device.startswith("cuda")

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    @property
    def side(self) -> int:
        """Of the images, in pixels."""
        return 128 if self.is_small else 400

    def note(self, row: dict[str, Any]) -> None:
        """Writes one row."""
        with self.lines.open("a") as file:
            file.write(f"{json.dumps(row)}\n")

    def each(self, names: Sequence[str], least: float = 2.0) -> Iterator[str]:
        """Those of `names` for which at least so many seconds are left; notes the others."""
        if self.methods:
            names = [name for name in names if name in self.methods]
        for number, name in enumerate(names):
            if self.left < least:
                self.note({"left_out": ", ".join(names[number:])})
                return
            yield name

    def tried(self, row: dict[str, Any], work: Callable[[], dict[str, Any]]) -> None:
        """Notes what `work` gives, or in which words it failed."""
        try:
            found = work()
        except Exception as error:
            self.failed(row, error)
        else:
            self.note({**row, **found})
        self.emptied()

    def failed(self, row: dict[str, Any], error: Exception) -> None:
        """Notes in which words a row failed, and where."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [f"{Path(f.filename).name}:{f.lineno}" for f in frames][-3:]
        said = f"{type(error).__name__}: {error}"[:300]
        self.note({**row, "failed": f"{said} ({' > '.join(own)})"})

    def emptied(self) -> None:
        """Gives cached memory back to the device, so that the next row's peak is its own."""
        if not self.is_small:
            torch.cuda.empty_cache()


def environment(device: str) -> dict[str, Any]:
    """Machine and software, as a record has them, and the driver's version in short."""
    exact_fp32()
    keep_memory()
    found = describe(device)
    kept = {key: found[key] for key in ("device", "python", "system", "cuda", "driver", "tf32")}
    kept |= {"torch": torch.__version__, "cpu": cpu_model(), "cores": os.cpu_count()}
    if device.startswith("cuda"):
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        kept["driver"] = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        kept["driver"] = kept["driver"].strip()
        kept["memory_gib"] = round(torch.cuda.get_device_properties(device).total_memory / 2**30)
        kept["cudnn"] = torch.backends.cudnn.version()
    return kept


def backbone_of(name: str, stage: Stage) -> str:
    """The published one; in miniature the mini suite's."""
    card = parse(name).host.card
    return card.mini.backbone if stage.is_small else card.backbones[0]


def drawn(name: str, stage: Stage) -> Method:
    """The method with drawn parameters."""
    return seeded(_built(name, stage)).eval()


def _built(name: str, stage: Stage) -> Method:
    composition = parse(name).in_miniature() if stage.is_small else parse(name)
    return build(composition, backbone=backbone_of(name, stage))


def example_of(domain: Enlarged) -> Example:
    """The first 5-shot episode."""
    loaded = domain.load(domain.episodes(5, 0, "patnet", 1).episodes[0])
    return loaded.query_image, loaded.support_images, loaded.support_masks


# -- the whole protocol ----------------------------------------------------------------------------


def protocol(stage: Stage) -> None:
    """4,200 episodes with 1 and 5 shots and five seeds: slices, or all where the time allows it.

    Of the time that is left the first row has half, the second two thirds, so that they may come to
    their end; each other has its share. Of a row's time every domain and number of shots has an
    eighth of what is left of it, and does not need it all where it is complete. The pictures of a
    domain are drawn before, as if they came from a warm decode cache.
    """
    size = 0.004 if stage.is_small else 1.0
    domains = {name: Enlarged(name, size) for name in DOMAINS[-1 if stage.is_small else 0 :]}
    for domain in domains.values():
        domain.draw_all()
    first = domains["chestxray"]
    plains: dict[str, float] = {}
    for number, row in enumerate(stage.each(PROTOCOL, least=4)):
        name, precision = row.split()
        try:
            method = network(name, backbone_of(name, stage), None, example_of(first))
            method.precision = "bf16" if precision == "bf16" else "fp32"
            if name not in plains:
                plains[name] = 1000 * plain(method, first, stage.device)
            others = len(PROTOCOL) - number
            share = {0: 1 / 2, 1: 2 / 3}.get(number, 1 / others)
            ends = time.monotonic() + stage.left * share
            _row(stage, row, method, domains, ends, plains[name])
        except Exception as error:
            stage.failed({"what": "episodes of the whole protocol", "row": row}, error)
        method = None
        stage.emptied()


def _row(
    stage: Stage,
    row: str,
    method: Method,
    domains: Mapping[str, Enlarged],
    ends: float,
    plain_ms: float,
) -> None:
    """Every domain's cells, smallest first, and one line that adds them up."""
    settings = Settings(stage.device, budget=spare(stage.device))
    first = domains["chestxray"]
    warm = first.episodes(5, 99, "patnet", 2 * settings.episodes_per_batch(400)).episodes
    list(evaluate(method, first, warm, settings=settings))  # loads kernels; not counted
    done, whole, took = 0, 0, 0.0
    left = 2 * len(domains)
    for name in reversed(DOMAINS):
        if name not in domains:
            continue
        stores = FeatureStores(settings.budget)
        for shots in (1, 5):
            seconds = (ends - time.monotonic()) / left
            found = _cell(method, domains[name], shots, settings, stores, seconds)
            left -= 1
            asked = 5 * domains[name].length
            done, whole = done + found["episodes"], whole + asked
            took += found["seconds"]
            label = {"what": "episodes of the whole protocol", "row": row, "domain": name}
            plainly = {"plain_ms_a_5_shot_episode_fp32": round(plain_ms, 2)}
            stage.note({**label, "shots": shots, "of": asked, **found, **plainly})
    stage.note(
        {
            "what": "rows of the whole protocol",
            "row": row,
            "episodes": done,
            "of": whole,
            "seconds": round(took, 2),
            "ms_an_episode": round(1000 * took / done, 3),
            "plain_ms_a_5_shot_episode_fp32": round(plain_ms, 2),
        }
    )


def _cell(
    method: Method,
    domain: Enlarged,
    shots: int,
    settings: Settings,
    stores: FeatureStores,
    seconds: float,
) -> dict[str, Any]:
    """One domain and number of shots, seed after seed, for so many seconds at most."""
    stages, took = spent(method, domain, shots, 5, settings, stores, seconds)
    return {
        "episodes": stages["episodes"],
        "seconds": round(took, 2),
        "ms_an_episode": round(1000 * took / stages["episodes"], 3),
        "pictures_encoded": stages["encoded"],
        **{f"{part}_s": round(stages[part] / 1000, 2) for part in ("load", "encode", "match")},
    }


# -- every row -------------------------------------------------------------------------------------


def rows(stage: Stage) -> None:
    """FLOPs, latency, memory and best batch of every row, 5-shot, then 1-shot."""
    size = stage.side
    asked = [f"{name} {shots}" for shots in (5, 1) for name in ROWS]
    domain = Enlarged("chestxray", 0.02)
    example = example_of(domain)
    if stage.is_small:
        asked = asked[:2]
    for row in stage.each(asked, least=6):
        name, shots = row.split()
        backbone = backbone_of(name, stage)
        label = {"what": "rows", "method": name, "backbone": backbone, "shots": int(shots)}
        stage.tried(label, lambda: _cost(stage, name, int(shots), size, example))  # noqa: B023


def _cost(stage: Stage, name: str, shots: int, size: int, example: Example) -> dict[str, Any]:
    began = time.monotonic()
    cost = cost_of(drawn(name, stage), shots=shots, size=size, device=stage.device)
    found: dict[str, Any] = {
        "size": size,
        "params": cost.params,
        "gflop_episode": round((cost.flops_episode or 0) / 1e9, 2),
        "gflop_encode": round((cost.flops_encode or 0) / 1e9, 2),
        "gflop_match": round((cost.flops_match or 0) / 1e9, 2),
        "gflop_adapt": round((cost.flops_adapt or 0) / 1e9, 2),
        **{f"{part}_ms": found["p50"] for part, found in cost.latency_ms.items()},
        "episode_p99_ms": cost.latency_ms["episode"]["p99"],
        "peak_mib": round(cost.peak_memory_mb),
        "best_batch": cost.best_batch.episodes if cost.best_batch else None,
        "episodes_a_second": cost.best_batch.episodes_per_second if cost.best_batch else None,
    }
    if name in PLAIN and shots == 5 and not stage.is_small:
        method = network(name, backbone_of(name, stage), None, example)
        found["plain_ms"] = round(
            1000 * plain(method, Enlarged("chestxray", 0.02), stage.device), 2
        )
    return {**found, "measured_in_s": round(time.monotonic() - began, 1)}


# -- training --------------------------------------------------------------------------------------


def training(stage: Stage) -> None:
    """A step of every recipe: forward, backward and update, of a batch that lies on the device."""
    names = [name for name in METHODS.names() if METHODS.card(name).recipe] + ["loec"]
    asked = [f"{name} {precision}" for precision in ("fp32", "bf16") for name in names]
    for row in stage.each(asked[:2] if stage.is_small else asked, least=3):
        name, precision = row.split()
        label = {
            "what": "training steps",
            "method": name,
            "backbone": backbone_of(name, stage),
            "precision": precision,
        }
        stage.tried(label, lambda: _steps(stage, name, precision))  # noqa: B023


def _steps(stage: Stage, name: str, precision: str) -> dict[str, Any]:
    card = parse(name).host.card
    recipe = card.mini.recipe if stage.is_small else card.recipe
    assert recipe is not None
    device = stage.device
    method = freeze(seeded(_built(name, stage)), recipe).to(device).train()
    optimizer = optimizer_of(method, recipe)
    objective = Objective(method, Processes(), precision)
    given = drawn_episodes(recipe.batch, recipe.shots, stage.side)
    tensors = (given.query_images, given.query_masks, given.support_images, given.support_masks)
    query, truth, support, masks = (tensor.to(device) for tensor in tensors)
    rng = torch.Generator().manual_seed(0)
    method.begin_round(1, batch=recipe.batch, rng=rng)  # DRA's first round only looks
    batch = EpisodeBatch(query, truth, support, masks, rng=rng)
    times: list[float] = []
    value = 0.0
    if not stage.is_small:
        torch.cuda.reset_peak_memory_stats()
    ends = time.perf_counter() + 1.5
    while len(times) < 3 or (time.perf_counter() < ends and len(times) < 22):
        began = time.perf_counter()
        loss, _ = objective(batch, recipe.batch)
        assert loss is not None
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        method.end_step()
        value = float(loss.detach())  # as a training does, which reads its loss
        times.append(time.perf_counter() - began)
    median = float(np.median(times[2:]))
    peak = None if stage.is_small else torch.cuda.max_memory_allocated() >> 20
    return {
        "batch": recipe.batch,
        "shots": recipe.shots,
        "ms_a_step": round(1000 * median, 2),
        "episodes_a_second": round(recipe.batch / median, 2),
        "steps_timed": len(times) - 2,
        "peak_mib": peak,
        "loss": round(value, 4),
    }


# -- choices ---------------------------------------------------------------------------------------


def choices(stage: Stage) -> None:
    """Encoding and matching under each choice; the evaluator does what stands first."""
    asked = ["hsnet", "ssp"]
    for name in stage.each(asked[:1] if stage.is_small else asked, least=4):
        _encoding(stage, name)
        _matching(stage, name)
    if not stage.is_small:
        _compiled(stage)


def _encoding(stage: Stage, name: str) -> None:
    method = drawn(name, stage).to(stage.device)
    optimized = method.optimized_for(stage.device)
    sizes = (1, 4) if stage.is_small else (1, 4, 16, 64)
    pictures = torch.randn((max(sizes), 3, stage.side, stage.side)).to(stage.device)

    def timed(choice: str, size: int, by: Method, **more: bool) -> None:
        label = {"what": "encoding", "method": name, "choice": choice, "pictures": size}
        stage.tried(label, lambda: _in_ms(lambda: by.encode(pictures[:size]), size, stage, **more))

    with torch.inference_mode():
        for size in sizes:
            timed("fp32, folded, channels first", size, optimized)
        timed("fp32, as built", sizes[-2], method)
        if stage.is_small:
            return
        timed("fp32, folded, cuDNN chooses by trial", sizes[-2], optimized, trial=True)
        timed("tf32, folded", sizes[-2], optimized, tf32=True)
        method.precision = "bf16"
        reduced = method.optimized_for(stage.device)
        timed("bf16, folded, channels last", sizes[-2], reduced)
        timed("bf16, folded, channels last", sizes[-1], reduced)
        method.precision = "fp32"
        method.backbone = folded(method.backbone, channels_last=True)
        timed("fp32, folded, channels last", sizes[-2], method)


def _matching(stage: Stage, name: str) -> None:
    method = drawn(name, stage).to(stage.device)
    optimized = method.optimized_for(stage.device)
    sizes = (1, 2) if stage.is_small else (1, 4, 8, 16, 32)
    given = drawn_episodes(max(sizes), 5, stage.side)
    with torch.inference_mode():
        query = optimized.encode(given.query_images.to(stage.device))
        states: list[Any] = []
        for images, masks in zip(given.support_images, given.support_masks, strict=True):
            states += optimized.encode_support(
                optimized.encode(images.to(stage.device)), masks.to(stage.device)
            )

        def work(size: int) -> Callable[[], Tensor]:
            def match() -> Tensor:
                logits = optimized.match_states(query[:size], states[: 5 * size], shots=5)
                return optimized.decide(logits.float(), query.size)

            return match

        def timed(choice: str, size: int, run: Callable[[], object], **more: bool) -> None:
            label = {"what": "matching", "method": name, "choice": choice, "episodes": size}
            stage.tried(label, lambda: _in_ms(run, size, stage, **more))

        for size in sizes:
            timed("fp32", size, work(size))
        if stage.is_small:
            return
        kept, plain_states = method.encode(given.query_images[:8].to(stage.device)), states[:40]

        def as_built() -> Tensor:
            return method.decide(method.match_states(kept, plain_states, shots=5), kept.size)

        timed("fp32, as built", 8, as_built)
        timed("fp32, cuDNN chooses by trial", 8, work(8), trial=True)
        timed("tf32", 8, work(8), tf32=True)
        with torch.autocast("cuda", torch.bfloat16):
            timed("bf16", 8, work(8))
            timed("bf16", 32, work(32))
        if name != "ssp":  # its selection asks the host how much was chosen
            label = {"what": "matching", "method": name, "choice": "fp32, CUDA graph"}
            for size in (1, 8):
                stage.tried(
                    {**label, "episodes": size},
                    lambda: _in_ms(graphed(work(size)), size, stage),  # noqa: B023
                )


def graphed(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`work` recorded once and played again."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = work()

    def again() -> Tensor:
        graph.replay()
        return found

    return again


def _compiled(stage: Stage) -> None:
    """torch.compile of the encoder, with the seconds that compiling takes."""
    for name in stage.each(["hsnet"], least=45):
        optimized = drawn(name, stage).to(stage.device).optimized_for(stage.device)
        pictures = torch.randn((16, 3, stage.side, stage.side)).to(stage.device)

        class Encoding(nn.Module):
            def forward(self, images: Tensor) -> dict[str, Tensor]:
                return dict(optimized.features(images).tensors)  # noqa: B023

        with torch.inference_mode():
            encode = torch.compile(Encoding())
            began = time.perf_counter()
            encode(pictures)
            torch.cuda.synchronize()
            label = {"what": "encoding", "method": name, "choice": "fp32, torch.compile"}
            stage.tried(
                {**label, "pictures": 16, "compiling_s": round(time.perf_counter() - began, 1)},
                lambda: _in_ms(lambda: encode(pictures), 16, stage),  # noqa: B023
            )


def _in_ms(
    work: Callable[[], object], size: int, stage: Stage, *, trial: bool = False, tf32: bool = False
) -> dict[str, Any]:
    torch.backends.cudnn.benchmark = trial
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        found = latency(work, stage.device)
    finally:
        torch.backends.cudnn.benchmark = False
        exact_fp32()
    return {"ms": found["p50"], "ms_each": round(found["p50"] / size, 3), "runs": found["runs"]}
