"""What the numbers of `frequency` say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .filtering import FEATURES, INPUT
from .frames import largest, names_in, row_where, rows_where
from .masking import ADAPTED, HOST, INITIAL

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


def _filter_sentence(study: pd.DataFrame, agreed: pd.DataFrame) -> str:
    table = rows_where(study, where=INPUT)
    domains = names_in(table, "domain")
    helped = _helped(table)
    best = largest(table, table["gain"])
    cells = len(rows_where(table, domain=domains[0])) - 1
    text = (
        f"Of {cells} filters of the input images some surely helps on {_of(helped, domains)}; most "
        f"gains {_cell(best)} on {best['domain']}, {best['gain']:+.1f} [{best['sure_low']:+.1f}, "
        f"{best['sure_high']:+.1f}] points (95 % for all filters at once, "
        f"{int(best['episodes'])} episodes)"
    )
    if len(agreed):
        near = largest(agreed, agreed["correlation"])
        sure = "surely alike" if near["low"] > 0 else "not surely alike"
        text += (
            f"; the gains are nearest to the paper's printed ones on {near['domain']} at radius "
            f"{near['radius']:g}, r = {near['correlation']:+.2f} [{near['low']:+.2f}, "
            f"{near['high']:+.2f}], {sure}"
        )
    others = rows_where(study, where=FEATURES)
    if len(others):
        text += f"; of filtered features some surely help on {_of(_helped(others), domains)}"
    return text + "."


def _helped(table: pd.DataFrame) -> list[str]:
    """Domains with a filter whose gain is sure for all filters at once."""
    return names_in(table.loc[table["sure_low"] > 0], "domain")


def _features_sentence(study: pd.DataFrame) -> str:
    table = rows_where(study, where=FEATURES)
    if not len(table):
        return ""
    domains = names_in(table, "domain")
    helped = _helped(table)
    best = largest(table, table["gain"])
    return (
        f"Filtering the features surely helps on {_of(helped, domains)}, most {_cell(best)} on "
        f"{best['domain']}: {best['gain']:+.1f} [{best['sure_low']:+.1f}, "
        f"{best['sure_high']:+.1f}] points."
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
        f"entry by more than {moved:.1g} (sigmoid) and change {least['changed']:.2f} "
        f"[{least['changed_low']:.2f}, {least['changed_high']:.2f}] % of the pixels: {verdict}, "
        f"against 0 steps {_gain(least, 'learning')} points, while the untouched start is worth "
        f"{_gain(least, 'begin')}; most moves {most['domain']} at {most['rate']:g}, "
        f"{most['moved']:.2g}, for {_gain(most, 'learning')} points."
    )


def _cell(row: Any) -> str:
    return f"amplitude {row['amplitude']}, phase {row['phase']} at radius {row['radius']:g}"


def _signed(row: Any) -> str:
    return f"{row['change']:+.3f} [{row['change_low']:+.3f}, {row['change_high']:+.3f}]"


def _gain(row: Any, name: str) -> str:
    value, low, high = (
        round(float(row[key]), 2) + 0.0 for key in (name, f"{name}_low", f"{name}_high")
    )
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _of(names: list[str], domains: list[str]) -> str:
    return f"{len(names)} of {len(domains)} targets" + (f" ({', '.join(names)})" if names else "")
