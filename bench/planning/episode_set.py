"""Which episodes a method predicts: a domain, shots, a seed, and how many of the protocol."""

from dataclasses import dataclass
from functools import cached_property

from cdfss_bench.datasets import Domain, Manifest
from cdfss_bench.datasets.check.own_folders import refuse_masks_for_pictures
from cdfss_bench.datasets.core.samplers import most_shots
from cdfss_bench.errors import DataError


@dataclass(frozen=True)
class EpisodeSet:
    """Episodes of one domain that a method predicts: the first `limit`, or all.

    `control` is `shuffled-support` or empty.
    """

    domain: Domain
    shots: int
    seed: int
    protocol: str
    limit: int | None = None
    control: str = ""

    @cached_property
    def manifest(self) -> Manifest:
        """The episodes.

        Raises:
            DataError: if the data cannot answer: a class with too few images, a missing file, no
                wrong class to draw supports from, a class whose every mask is empty or full, own
                pictures that are their own masks.
        """
        self._refuse_small_classes()
        for name in self.domain.classes_without_truth:
            raise DataError(
                f"no mask of class '{name}' of {self.domain.title} shows anything of it",
                hint=f"cdfss-bench data check '{self.domain.title}' --full names the masks",
            )
        for name in self.domain.classes_without_background:
            raise DataError(
                f"every mask of class '{name}' of {self.domain.title} is full: no pixel of any "
                "image is background",
                hint="draw the masks, or remove the class",
            )
        refuse_masks_for_pictures(self.domain)
        manifest = self.domain.episodes(self.shots, self.seed, self.protocol)
        if self.limit is not None:
            manifest = manifest.head(self.limit)
        return self.domain.shuffled(manifest) if self.control else manifest

    def _refuse_small_classes(self) -> None:
        # The published sampler repeats supports, or never returns; neither is K-shot.
        hint = "use fewer shots (-k 1), or complete the data"
        for pool in self.domain.pools:
            images = f"class '{pool.name}' of {self.domain.title} has {len(pool.images)} images"
            if len(pool.images) < self.shots + 1:
                raise DataError(
                    f"{images}, {self.shots}-shot needs at least {self.shots + 1}", hint=hint
                )
            if self.domain.keeps_scenes_apart:
                most = most_shots(pool, self.domain.scene)
                if 0 < most < self.shots:
                    raise DataError(
                        f"{images}, and some have only {most} in other volumes, series or groups "
                        f"than theirs: {self.shots}-shot would show one twice",
                        hint=hint,
                    )

    @property
    def is_limited(self) -> bool:
        """Whether fewer episodes are asked than the protocol has."""
        return self.limit is not None and self.limit < self.domain.published_length
