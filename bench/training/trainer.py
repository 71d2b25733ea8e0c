"""Source training of a method by its card's recipe, every deviation on the record."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from cdfss_bench.datasets import Episode
from cdfss_bench.errors import UserError
from cdfss_bench.methods.core.method import Method
from cdfss_bench.methods.weights.card import WeightsCard, read_card
from cdfss_bench.methods.weights.checkpoints import write_checkpoint

from ..runtime.allocator import keep_memory
from ..runtime.precision import exact_fp32
from .averaging import Averaged
from .checkpoint import Best, load_state, refuse_changed, save_state
from .compile_check import check_gradient, compiled
from .conduct import Conduct, Files, Step
from .distributed import Objective, mean_over_processes, wrapped
from .episodes import TrainingEpisodes, check_source, validation_episodes
from .frozen_features import FrozenFeatures
from .frozen_stages import FrozenStages
from .job import Job, described
from .kept_images import KeptImages
from .loader import Loaded, Loading, number_of
from .network import begun, freeze, is_finite, learned, optimizer_of
from .rates import factor
from .sam import sharpen
from .tensorboard import Scalars
from .validation import JsonLines, miou, watched_steps
from .wandb_run import WandbRun

_LOGGED = 1000
"""Steps of which the log tells, spread over the training."""


def train(job: Job, output: Path, conduct: Conduct | None = None) -> WeightsCard:
    """Trains, or takes up an interrupted training, and writes the weights that were selected.

    The result is the same to the bit (on a CPU) however often it was interrupted. A training that
    is complete already is not repeated. What the backbone file holds is not written again; the
    weights' card names that file.

    Args:
        job: what to train.
        output: the safetensors file.
        conduct: how to go about it.

    Raises:
        DataError: if the source has no usable masks.
        UserError: if what lies at `output` was begun with another recipe, if the loss is no longer
            a number, or if a file cannot be written.
    """
    keep_memory()
    exact_fp32()
    files, conduct = Files(output), conduct or Conduct()
    with files.lock() if job.processes.leads else nullcontext():
        if conduct.fresh and job.processes.leads:
            for path in (output, files.state, files.log.path, files.curve.path):
                path.unlink(missing_ok=True)
            for folder in (files.scalars, files.wandb):
                shutil.rmtree(folder, ignore_errors=True)
        finished = read_card(output) if output.is_file() and not conduct.fresh else None
        if finished is not None:
            refuse_changed(finished, described(job), output, "was trained")
            return finished
        return _Training(job, files, conduct).run()


def initialised(job: Job) -> Method:
    """The network with pretrained backbone and seeded head, ready to be trained."""
    network = begun(job.composition, job.weights, job.init, job.seed)
    return freeze(network, job.recipe).to(job.device).train()


class _Training:
    """The loop and what it carries from step to step."""

    def __init__(self, job: Job, files: Files, conduct: Conduct):
        self.job, self.files, self.conduct = job, files, conduct
        self.card = described(job)
        check_source(job.domain)
        recipe = job.recipe
        self.drawn = TrainingEpisodes(
            job.domain,
            episodes=recipe.episodes,
            shots=recipe.shots,
            seed=job.seed,
            hold_out=job.hold_out,
            bugs=job.bugs,
        )
        self.held_out: Sequence[Episode] = ()
        if job.hold_out:
            self.held_out = validation_episodes(
                job.domain,
                hold_out=job.hold_out,
                shots=recipe.shots,
                count=job.validation_episodes,
            )
        self.network = initialised(job)
        self.optimizer = optimizer_of(self.network, recipe)
        self.frozen: KeptImages | None = None
        if recipe.folded:
            form = FrozenFeatures if recipe.freeze == "all" else FrozenStages
            self.frozen = form(self.network, conduct.memory, job.device)
        self.average = Averaged(self.network, recipe.ema) if recipe.ema else None
        self.objective = Objective(self.network, job.processes, job.precision)
        self.plain = wrapped(self.objective, job.processes)
        self.compute = compiled(self.plain, job.device) if job.compiled else self.plain
        self.unproven = job.compiled and not self.network.keeps_statistics
        self.loading = Loading(
            self.drawn,
            recipe.batch,
            job.seed,
            mirror=recipe.augment == "flip",
            boundary="boundary-is-background" in job.bugs,
            device=job.device,
            workers=conduct.workers,
            processes=job.processes,
        )
        self.total = len(self.loading)
        self.best = Best()
        self.saved = 0
        self.validation: float | None = None
        self.trackers: list[Scalars | WandbRun] = []

    def run(self) -> WeightsCard:
        """From where the state on disk stands to the weights."""
        first = self._resumed()
        try:
            if self.conduct.tensorboard and self.job.processes.leads:
                self.trackers.append(Scalars(self.files.scalars, first))
            if self.conduct.wandb and self.job.processes.leads:
                name = self.files.weights.stem
                self.trackers.append(WandbRun(self.files.wandb, name, self.card, first))
            self._steps(first)
        finally:
            for tracker in self.trackers:
                tracker.close()
        return self._finished()

    def _steps(self, first: int) -> None:
        validated = watched_steps(self.total, self.job.validate_every * self.total)
        targets = self.conduct.targets
        curve: set[int] = set()
        if targets is not None and targets.every is not None:
            per_epoch = self.drawn.per_epoch / self.job.recipe.batch
            curve = watched_steps(self.total, targets.every * per_epoch)
            if first == 0:
                self._diagnose(0)
        logged = max(1, self.total // _LOGGED)
        for loaded in self.loading.steps(first):
            number = loaded.number
            if number == first or self._round(number) != self._round(number - 1):
                self._announce_round(number)
            with nullcontext() if self.frozen is None else self.frozen.in_place():
                loss, terms = self._step(loaded)
            done = number + 1
            if self.job.processes.leads:
                if done % logged == 0 or done == self.total:
                    self._log(done, loss, terms)
                if done in validated:
                    self._validate(done)
                if done in curve:
                    self._diagnose(done)
                if self._is_saved_after(done):
                    self._save(done)
                if self.conduct.listener is not None:
                    self.conduct.listener(Step(done, self.total, loss, terms, self.validation))

    def _resumed(self) -> int:
        """Steps that are done."""
        path, first = self.files.state, 0
        if path.is_file():
            first, self.best = load_state(
                path,
                self.card,
                network=self.network,
                optimizer=self.optimizer,
                average=self.average,
            )
        self.saved = first
        if self.job.processes.leads:
            for file in (self.files.log, self.files.curve):
                file.rewind(first if first else -1)
        return first

    def _step(self, loaded: Loaded) -> tuple[float | None, dict[str, float]]:
        job, recipe, rows = self.job, self.job.recipe, len(loaded.episodes)
        scale = factor(recipe, loaded.number, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * scale
        loss, values = cast(
            "tuple[Tensor | None, dict[str, Tensor]]", self.compute(loaded.batch, rows)
        )
        if loss is None:
            self.network.end_step()
            return None, {}
        shown = {**values, "": loss.detach()}
        terms = mean_over_processes(shown, self.job.processes)
        mean = terms.pop("")
        if not bool(torch.isfinite(loss)) or mean != mean:
            raise self._not_a_number(f"the loss is {float(loss.detach())}", loaded)
        if not loss.requires_grad:
            # DRA with a frozen backbone: nothing was perturbed, so no adapter took part.
            self.network.end_step()
            return mean, terms
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.unproven:
            self.unproven = False
            loaded.rng.set_state(loaded.draws)
            tolerance = 0.05 if job.precision == "fp32" else 0.5
            check_gradient(
                self.network, lambda: self.plain(loaded.batch, rows)[0], tolerance=tolerance
            )
        if recipe.sam:
            loaded.rng.set_state(loaded.draws)
            sharpen(self.network, lambda: self._again(loaded), radius=recipe.sam)
        if recipe.clip_norm:
            trained = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        self.network.end_step()
        if self._is_saved_after(loaded.number + 1) and not is_finite(self.network):
            raise self._not_a_number("a parameter is no longer a number", loaded)
        return mean, terms

    def _again(self, loaded: Loaded) -> Tensor:
        loss, _ = self.objective(loaded.batch, len(loaded.episodes))
        assert loss is not None  # the first pass had one
        return loss

    def _is_saved_after(self, step: int) -> bool:
        return step % self.conduct.save_every == 0 or step == self.total

    def _round(self, step: int) -> int:
        return step * self.job.recipe.rounds // self.total

    def _announce_round(self, step: int) -> None:
        recipe = self.job.recipe
        if recipe.rounds == 1:
            return
        current = self._round(step)
        rng = torch.Generator().manual_seed(number_of(self.job.seed, "round", current))
        self.network.begin_round(current, batch=recipe.batch, rng=rng)

    def _not_a_number(self, what: str, loaded: Loaded) -> UserError:
        domain = self.job.domain
        asked = ", ".join(
            f"{e.query} (class {e.class_id}, supports {' '.join(e.supports)})"
            for e in loaded.episodes
        )
        kept = (
            f"the state after step {self.saved} is kept in {self.files.state}"
            if self.files.state.is_file()
            else "nothing was saved before"
        )
        return UserError(
            f"{what} at step {loaded.number + 1} of {self.total} on {domain.title}: "
            f"{asked}; {kept}",
            hint="lower the learning rate with --lr and begin anew with --fresh",
        )

    def _log(self, step: int, loss: float | None, terms: dict[str, float]) -> None:
        row: dict[str, object] = {
            "step": step,
            "episodes": self._episodes(step),
            "loss": loss,
            "lr": self.job.recipe.lr * factor(self.job.recipe, step - 1, self.total),
        }
        if self.job.recipe.lr_parts:
            groups = self.optimizer.param_groups
            row["lr_parts"] = {g["part"]: g["lr"] for g in groups if g["part"]}
        self._tell(self.files.log, {**row, **({"terms": terms} if len(terms) > 1 else {})})

    def _as_kept(self) -> AbstractContextManager[None]:
        """The network with the weights that would be kept now: the average's, if there is one."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _validate(self, step: int) -> None:
        """Asks held-out source episodes (or an oracle's targets) and keeps the better weights."""
        device, rule = self.job.device, self.job.selection
        row: dict[str, object] = {"step": step, "episodes": self._episodes(step)}
        if self.held_out:
            with self._as_kept():
                self.validation = miou(self.network, self.job.domain, self.held_out, device)
            self._tell(self.files.log, {**row, "source_val_miou": round(self.validation, 4)})
        score = self.validation if rule == "source-val" else None
        if rule == "target-oracle":
            assert self.conduct.targets is not None  # the command line sees to it
            with self._as_kept():
                scores = self.conduct.targets.scores(self.network, device)
            score = sum(scores.values()) / len(scores)
            self._tell(self.files.log, {**row, "target_oracle_miou": round(score, 4)})
        if score is not None and score > self.best.score:
            self.best = Best(score, step, self._learned())

    def _diagnose(self, step: int) -> None:
        assert self.conduct.targets is not None
        episodes = self._episodes(step)
        with self._as_kept():
            scores = self.conduct.targets.scores(self.network, self.job.device)
        self._tell(
            self.files.curve,
            *(
                {
                    "step": step,
                    "epochs": round(episodes / self.drawn.per_epoch, 6),
                    "episodes": episodes,
                    "domain": name,
                    "miou": round(score, 4),
                    "asked": self.conduct.targets.episodes,
                }
                for name, score in scores.items()
            ),
        )

    def _tell(self, file: JsonLines, *rows: Mapping[str, object]) -> None:
        file.add(*rows)
        for tracker in self.trackers:
            for row in rows:
                tracker.add(row)

    def _episodes(self, step: int) -> int:
        return min(step * self.job.recipe.batch, len(self.drawn))

    def _save(self, step: int) -> None:
        save_state(
            self.files.state,
            self.card,
            step=step,
            network=self.network,
            optimizer=self.optimizer,
            average=self.average,
            best=self.best,
        )
        self.saved = step

    def _learned(self) -> dict[str, Tensor]:
        job = self.job
        with self._as_kept():
            return learned(self.network, job.composition, job.weights, job.seed)

    def _finished(self) -> WeightsCard:
        if not self.drawn.sha256:  # the state on disk was that of the last step
            for _ in self.drawn:
                pass
        changed: dict[str, object] = {
            "source": {**self.card.source, "episodes_sha256": self.drawn.sha256}
        }
        tensors = self.best.tensors
        if tensors:
            episodes = self._episodes(self.best.step)
            changed |= {"score": round(self.best.score, 4), "episodes": episodes}
        curve = [
            (int(row["episodes"]), float(row["source_val_miou"]))
            for row in self.files.log.rows()
            if "source_val_miou" in row
        ]
        card = self.card.model_copy(update=changed | {"curve": tuple(curve)})
        if self.job.processes.leads:
            write_checkpoint(self.files.weights, tensors or self._learned(), card)
            self.files.state.unlink(missing_ok=True)
        return card
