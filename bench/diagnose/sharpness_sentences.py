"""What the numbers of `sharpness` say."""

from collections.abc import Mapping

from .causes import Cause, at_once
from .frames import Frame, names_in, row_where, rows_where
from .spread import mean_range, range_of
from .subject import Subject


def causes(episodes: Frame, own: str, source: str) -> tuple[Cause, ...]:
    """The stage whose noise raises the targets' loss most, over all targets."""
    chosen = rows_where(_of_targets(episodes, source), variant=own)
    rises = {stage: mean_range(part["loss"]) for stage, part in chosen.groupby("stage", sort=False)}
    stage = max(rises, key=lambda name: rises[name].estimate)
    size = at_once(rises[stage], len(rises))
    unit = f"of loss under noise of {chosen['radius'].max():g} standard deviations"
    where = f"stage {stage}, mean of the targets"
    return (Cause("sharpness", "a stage is sensitive to noise", size, unit, where),)


def _of_targets(table: Frame, source: str) -> Frame:
    """The rows of the largest radius on all domains but the source."""
    return table[(table["radius"] == table["radius"].max()) & (table["domain"] != source)]


def sentences(tables: Mapping[str, Frame], subject: Subject) -> tuple[str, str, str]:
    """On the stage that is hit hardest, on shallow and deep stages, on LEM."""
    source, own = subject.source_title, own_variant(subject)
    features = tables["features"]
    most = features["radius"].max()
    targets = rows_where(_of_targets(features, source), variant=own)
    worst = targets.loc[targets["loss"].idxmax()]
    home = row_where(features, radius=most, variant=own, domain=source, stage=worst["stage"])
    first = (
        f"Noise of {most:g} channel standard deviations costs most in stage {worst['stage']} on "
        f"{worst['domain']}: loss {range_of(worst, 'loss').text()}, mIoU "
        f"{range_of(worst, 'miou').text('+.1f')} points; the same noise on {source} changes the "
        f"loss by {range_of(home, 'loss').text()} (episodes: {subject.episode_count} "
        f"each, noise seeds: {len(subject.seeds)}{_before_learning(subject)})."
    )
    return first, _by_depth(tables, subject, own), _with_lem(tables, subject)


def _by_depth(tables: Mapping[str, Frame], subject: Subject, own: str) -> str:
    """Where the landscape is sharpest: shallow or deep, in features and in weights."""
    chosen = rows_where(_of_targets(tables["episodes"], subject.source_title), variant=own)
    stages = names_in(chosen, "stage")
    means = {s: mean_range(rows_where(chosen, stage=s)["loss"]) for s in stages}
    sharpest = max(stages, key=lambda s: means[s].estimate)
    by = chosen.pivot(index=["domain", "episode"], columns="stage", values="loss")
    others = [s for s in stages if s != sharpest]
    second = max(others, key=lambda s: means[s].estimate) if others else sharpest
    lead = mean_range(by[sharpest] - by[second])
    weights = rows_where(_of_targets(tables["weights"], subject.source_title), variant=own)
    by_stage = weights.groupby("stage", sort=False)["loss"].mean()
    in_weights = (
        f"noise of {weights['radius'].max():g} of each filter's norm costs most in "
        f"{by_stage.idxmax()} ({by_stage.max():+.2f})"
    )
    if not means[sharpest].low > 0:
        return (
            "Over all targets no stage is significantly sharp: the largest rise, in "
            f"{sharpest}, is {means[sharpest].text()}; {in_weights}."
        )
    depth = "shallow" if stages.index(sharpest) < len(stages) / 2 else "deep"
    word = "significantly more" if lead.low > 0 else "not significantly more"
    return (
        f"Over all targets the features are sharpest in {sharpest}, a {depth} stage (loss "
        f"{means[sharpest].text()}), {word} than in {second} ({lead.text()} between them); "
        f"{in_weights}."
    )


def _with_lem(tables: Mapping[str, Frame], subject: Subject) -> str:
    chosen = _of_targets(tables["episodes"], subject.source_title)
    variants = names_in(chosen, "variant")
    if len(variants) < 2:
        return (
            f"There is nothing to compare LEM with: only the weights {variants[0]} are here, whose "
            f"loss rises by {mean_range(chosen['loss']).text()} on average over targets and stages."
        )
    keys = ["domain", "stage", "episode"]
    pairs = chosen.pivot(index=keys, columns="variant", values="loss")
    # An episode is one case, whatever the number of stages that it was asked in.
    each = pairs.groupby(["domain", "episode"]).mean()
    change = mean_range(each["with LEM"] - each["without LEM"])
    told = "LEM's effect on the landscape cannot be told from none"
    if change.excludes_zero:
        word = "flatter" if change.high < 0 else "sharper"
        told = f"training with LEM made the landscape {word}"
    return (
        f"With LEM the loss rises by {mean_range(each['with LEM']).text()} on average over targets "
        f"and stages, without by {mean_range(each['without LEM']).text()}, a difference of "
        f"{change.text()} per episode: {told} (one training each, so this is about these weights)."
    )


def _before_learning(subject: Subject) -> str:
    if subject.composition.adaptation == "none" or bool(subject.options["adapt"]):
        return ""
    return "; asked before it learns from the support"


def own_variant(subject: Subject) -> str:
    """The variant that is the method itself."""
    own = subject.selection.methods[0]
    return next(variant for variant, name in subject.variants().items() if name == own)
