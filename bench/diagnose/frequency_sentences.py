"""What the numbers of `frequency` say."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .causes import Cause, at_once
from .filtering import FEATURES, INPUT
from .frames import largest, names_in, range_in, row_where, rows_where
from .masking import ADAPTED, HOST, INITIAL
from .spread import Range

_UNMOVED = 1e-3
"""A mask entry, in units of sigmoid, that moved less moved nothing one could see."""


def sentences(tables: Mapping[str, pd.DataFrame], label: str) -> tuple[str, str, str]:
    """On filters, on correlations, on learning."""
    filters = _filter_sentence(tables["study"], tables["agreement"])
    if not len(tables["learning"]):
        silent = f"{label} cannot carry APM, so that no {{}} before and after adaptation."
        return (
            filters,
            _features_sentence(tables["study"]) or silent.format("correlations are compared"),
            silent.format("masks are compared"),
        )
    second = _correlation_sentence(tables["correlation"])
    return filters, second, _learning_sentence(tables["learning"])


def causes(study: pd.DataFrame) -> tuple[Cause, ...]:
    """What the best filter of the input images gains on the target where it gains most."""
    table = _changed(study, INPUT)
    best = largest(table, table["gain"])
    alone = Range(best["gain"], best["sure_low"], best["sure_high"])
    size = at_once(alone, len(names_in(table, "domain")))
    where = f"{best['domain']}, {_cell(best)}"
    return (Cause("frequency", "frequencies of the image mislead", size, where=where),)


def _filter_sentence(study: pd.DataFrame, agreed: pd.DataFrame) -> str:
    table = _changed(study, INPUT)
    domains = names_in(table, "domain")
    helped = _helped(table)
    best = largest(table, table["gain"])
    cells = len(rows_where(table, domain=domains[0]))
    text = (
        f"Of {cells} filters of the input images some significantly helps on "
        f"{_of(helped, domains)}; the best is {_cell(best)} on {best['domain']}, "
        f"{_sure(best)} points (95 % for all filters at once, {int(best['episodes'])} episodes)"
    )
    if len(agreed):
        near = largest(agreed, agreed["correlation"])
        sure = "significantly alike" if near["low"] > 0 else "not significantly alike"
        text += (
            f"; the gains are nearest to the paper's printed ones on {near['domain']} at radius "
            f"{near['radius']:g}, "
            f"r = {Range(near['correlation'], near['low'], near['high'])}, {sure}"
        )
    others = _changed(study, FEATURES)
    if len(others):
        text += f"; of filtered features some significantly help on {_of(_helped(others), domains)}"
    return text + "."


def _changed(study: pd.DataFrame, where: str) -> pd.DataFrame:
    """The cells in which something is filtered."""
    table = rows_where(study, where=where)
    return table.loc[table["radius"] > 0]


def _helped(table: pd.DataFrame) -> list[str]:
    """Domains with a filter whose gain is sure for all filters at once."""
    return names_in(table.loc[table["sure_low"] > 0], "domain")


def _features_sentence(study: pd.DataFrame) -> str:
    table = _changed(study, FEATURES)
    if not len(table):
        return ""
    domains = names_in(table, "domain")
    helped = _helped(table)
    best = largest(table, table["gain"])
    return (
        f"Filtering the features significantly helps on {_of(helped, domains)}, most {_cell(best)} "
        f"on {best['domain']}: {_sure(best)} points."
    )


def _correlation_sentence(table: pd.DataFrame) -> str:
    """At the first rate of each domain, the paper's."""
    parts: list[str] = []
    for domain in names_in(table, "domain"):
        rows = rows_where(table, domain=domain)
        rows = rows_where(rows, rate=rows["rate"].iloc[0])
        host, begun, learnt = (row_where(rows, state=s) for s in (HOST, INITIAL, ADAPTED))
        parts.append(
            f"{domain} {host['correlation']:.2f} -> {begun['correlation']:.2f} "
            f"({_signed(begun)}) -> {learnt['correlation']:.2f} ({_signed(learnt)})"
        )
    return (
        "Mean absolute correlation between channels without APM, at its start and after its steps, "
        f"change against the first in brackets: {'; '.join(parts)}; independent channels would "
        f"show {table['noise'].iloc[0]:.2f} on maps of {int(table['positions'].iloc[0])} positions."
    )


def _learning_sentence(table: pd.DataFrame) -> str:
    least = table.iloc[int(table["rate"].argmin())]
    moved = float(least["moved"])
    verdict = "nothing is learnt" if moved < _UNMOVED else "the masks do move"
    if moved < _UNMOVED <= float(least["learning_low"]):
        verdict = "which such masks cannot explain"
    most = largest(table, table["moved"])
    return (
        f"On {least['domain']} at rate {least['rate']:g}, {int(least['steps'])} steps move no mask "
        f"entry by more than {moved:.1g} (sigmoid) and change "
        f"{range_in(least, 'changed').text('.2f')} % of the pixels: {verdict}, "
        f"against 0 steps {range_in(least, 'learning')} points, while the untouched start is worth "
        f"{range_in(least, 'begin')}; most moves {most['domain']} at {most['rate']:g}, "
        f"{most['moved']:.2g}, for {range_in(most, 'learning')} points."
    )


def _cell(row: Any) -> str:
    return f"amplitude {row['amplitude']}, phase {row['phase']} at radius {row['radius']:g}"


def _signed(row: Any) -> str:
    return range_in(row, "change", digits=3).text("+.3f")


def _sure(row: Any) -> str:
    return Range(row["gain"], row["sure_low"], row["sure_high"]).text("+.1f")


def _of(names: list[str], domains: list[str]) -> str:
    return f"{len(names)} of {len(domains)} targets" + (f" ({', '.join(names)})" if names else "")
