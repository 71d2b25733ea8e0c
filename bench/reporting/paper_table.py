"""One LaTeX table for a paper: all shots side by side, names as published, significance marks."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from cdfss_bench.datasets import DOMAINS
from cdfss_bench.methods.backbones.card import BACKBONES
from cdfss_bench.words import plural

from ..comparison.current import STALE
from ..comparison.leaderboard import BoardKey, ColumnKey, Leaderboard, RowKey, seeds_of
from ..comparison.ranking import Standings
from ..comparison.rows import Row
from .citations import published
from .latex import escaped, line_of
from .leaderboard_table import SHORT, SUITES

_BETTER, _ALIKE = r"$^{\ast}$", r"$^{\approx}$"
_BESIDE = r"\rlap{%s}"
"""Marks take no width, so that numbers stand below each other."""
_MEAN = "mean"


class _Block(NamedTuple):
    """The columns of one number of shots: domains with what is shown, None for the mean."""

    board: Leaderboard
    where: Standings
    columns: Sequence[tuple[str, ColumnKey | None]]


def as_paper(
    boards: Sequence[Leaderboard], where: Sequence[Standings], columns: Sequence[str] = ()
) -> str:
    r"""A `table*` for each suite and protocol with all shots; needs `\usepackage{booktabs}`.

    `columns` are domains, `mean` and `backbone`; by default all of them.
    """
    groups: dict[BoardKey, list[tuple[Leaderboard, Standings]]] = {}
    for board, standing in zip(boards, where, strict=True):
        groups.setdefault(board.key._replace(shots=0), []).append((board, standing))
    return "\n\n".join(_table(group, columns) for group in groups.values()) + "\n"


def _table(group: Sequence[tuple[Leaderboard, Standings]], wanted: Sequence[str]) -> str:
    ordered = sorted(group, key=lambda pair: pair[0].key.shots)
    blocks = [_Block(board, where, _columns(board, wanted)) for board, where in ordered]
    with_backbone = not wanted or "backbone" in wanted
    left = 2 if with_backbone else 1
    count = left + sum(len(block.columns) for block in blocks)
    kinds = "l" * left + "".join("c" * len(block.columns) for block in blocks)
    lines = [
        r"% \usepackage{booktabs}; entries for \cite: cdfss-bench report -f bibtex",
        r"\begin{table*}[t]",
        r"\centering\footnotesize",
        r"\setlength{\tabcolsep}{2.5pt}",
        rf"\caption{{{_caption(blocks)}}}",
        rf"\label{{tab:{blocks[0].board.key.suite}-{blocks[0].board.key.protocol}}}",
        rf"\begin{{tabular}}{{@{{}}{kinds}@{{}}}}",
        r"\toprule",
        line_of([*[""] * left, *(_over(block) for block in blocks if block.columns)]),
        " ".join(_rules(blocks, left)),
        line_of(["Method", *["Backbone"] * with_backbone, *_headers(blocks)]),
        r"\midrule",
    ]
    titled = _sections(blocks)
    backbones = _backbones({key.backbone for _, keys in titled for key in keys})
    for number, (title, keys) in enumerate(titled):
        if len(titled) > 1:
            lines += [r"\midrule"] if number else []
            lines.append(rf"\multicolumn{{{count}}}{{@{{}}l}}{{\emph{{{escaped(title)}}}}} \\")
        for key in keys:
            cells = [_named(key), *[backbones[key.backbone]] * with_backbone]
            lines.append(line_of([*cells, *_scores(key, blocks)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}"])


def _columns(board: Leaderboard, wanted: Sequence[str]) -> list[tuple[str, ColumnKey | None]]:
    domains = sorted({column.domain for column in board.columns})
    found: list[tuple[str, ColumnKey | None]] = [(d, board.main_column(d)) for d in domains]
    if board.mean_columns:
        found.append((_MEAN, None))
    return [column for column in found if not wanted or column[0] in wanted]


def _over(block: _Block) -> str:
    return rf"\multicolumn{{{len(block.columns)}}}{{c}}{{{block.board.key.shots}-shot}}"


def _rules(blocks: Sequence[_Block], left: int) -> list[str]:
    rules: list[str] = []
    for block in blocks:
        if block.columns:
            rules.append(rf"\cmidrule(lr){{{left + 1}-{left + len(block.columns)}}}")
            left += len(block.columns)
    return rules


def _headers(blocks: Sequence[_Block]) -> list[str]:
    found: list[str] = []
    for block in blocks:
        for name, column in block.columns:
            mark = SHORT if column is not None and _is_short(block.board, column) else ""
            text = escaped("Mean" if column is None else _domain(name)) + mark
            found.append(_stacked(text))
    return found


def _stacked(text: str) -> str:
    """Words of a header one above the other: ten columns stand side by side."""
    first, blank, rest = text.partition(" ")
    return rf"\shortstack{{{first} \\ {rest}}}" if blank else text


def _domain(title: str) -> str:
    """As papers write it; options in brackets stay."""
    name, bracket, options = title.partition("[")
    card = DOMAINS.card(name) if name in DOMAINS else None
    return f"{card.title if card else name}{bracket}{options}"


def _is_short(board: Leaderboard, column: ColumnKey) -> bool:
    scores = [row.scores[column] for row in board.rows.values() if column in row.scores]
    return column.limited or not all(score.complete for score in scores)


def _sections(blocks: Sequence[_Block]) -> list[tuple[str, list[RowKey]]]:
    """Rows of all shots by their section, in the order of the first board that has them."""
    found: dict[str, dict[RowKey, None]] = {}
    for block in blocks:
        for section in block.board.sections():
            rows = found.setdefault(section.title, {})
            rows |= dict.fromkeys(row.key for row in section.rows if row.scores)
    return [(title, list(rows)) for title, rows in found.items() if rows]


def _named(key: RowKey) -> str:
    name, papers = published(key.label)
    cited = ",".join(paper.key for paper in papers)
    return escaped(name) + (rf"~\cite{{{cited}}}" if cited else "")


def _backbones(names: Collection[str]) -> dict[str, str]:
    """Titles by name, without what stands behind a comma where that tells no two apart."""
    titles = {
        name: BACKBONES.card(name).title if name in BACKBONES else name for name in names if name
    }
    short = {name: title.partition(",")[0] for name, title in titles.items()}
    alike = Counter(short.values())
    return {"": "--"} | {
        name: escaped(short[name] if alike[short[name]] == 1 else title)
        for name, title in titles.items()
    }


def _scores(key: RowKey, blocks: Sequence[_Block]) -> list[str]:
    return [
        _score(block, block.board.rows.get(key), column)
        for block in blocks
        for _, column in block.columns
    ]


def _score(block: _Block, row: Row | None, column: ColumnKey | None) -> str:
    if row is None:
        return "--"
    score = row.scores.get(column) if column is not None else None
    value = block.board.mean(row) if column is None else score.mean if score else None
    if value is None:
        return "--"
    text = f"{value:.2f}" + (r"$^{\dagger}$" if block.board.is_stale(row, column) else "")
    standing = block.where.get((row.key, column))
    if standing is None or standing.rank is None:
        return text
    section = next(section for section in block.board.sections() if row in section.rows)
    others = [
        block.where.get((other.key, column))
        for other in section.rows
        if other is not row and (column is None or column in other.scores)
    ]
    if standing.rank == 1 and others:
        alone = all(other is not None and other.worse for other in others)
        return rf"\textbf{{{text}}}" + (_BESIDE % _BETTER if alone else "")
    text = rf"\underline{{{text}}}" if standing.rank == 2 else text
    return text + (_BESIDE % _ALIKE if standing.tied else "")


def _caption(blocks: Sequence[_Block]) -> str:
    key = blocks[0].board.key
    suite = SUITES.get(key.suite, "the four targets")
    rows = [row for block in blocks for row in block.board.rows.values()]
    scores = [score for row in rows for score in row.scores.values()]
    seeds = seeds_of(rows)
    text = [
        f"Cross-domain few-shot segmentation on {escaped(suite)}: mIoU (\\%), protocol "
        f"{escaped(key.protocol)}, {plural(len(seeds), 'seed')} "
        f"{', '.join(map(str, seeds))}"
        + (f", {escaped(key.precision)}" * (key.precision != "fp32"))
        + "."
    ]
    places = [standing for block in blocks for standing in block.where.values()]
    ranked = [standing for standing in places if standing.rank is not None]
    if any(standing.rank == 2 for standing in ranked):
        text.append("Of each group the best is bold and the second underlined.")
    if any(standing.tied or standing.worse for standing in ranked):
        text.append(
            f"{_BETTER}\\,significantly better than all others of its group; "
            f"{_ALIKE}\\,not significantly different from the best "
            r"(paired sign-flip test over query images, Holm, 5\,\%; the means are not tested)."
        )
    shortened = [
        f"{escaped(_domain(name))} ({escaped(column.profile)}, {column.episodes} episodes)"
        for block in blocks
        for name, column in block.columns
        if column is not None and _is_short(block.board, column)
    ]
    if shortened:
        listed = ", ".join(dict.fromkeys(shortened))
        text.append(rf"{SHORT}\,not all of the data or of the protocol's episodes: {listed}.")
    if any(score.is_stale for score in scores):
        text.append(rf"{escaped(STALE)}\,computed by older code.")
    return " ".join(text)
