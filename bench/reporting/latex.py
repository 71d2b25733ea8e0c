"""Leaderboards for papers: booktabs, the best in bold, the second underlined."""

from collections.abc import Sequence

from .text_table import TextTable

_AROUND = {"best": r"\textbf{%s}", "second": r"\underline{%s}"}
_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "–": "--", "±": r"$\pm$", "≈": r"$\approx$", "·": r"$\cdot$",
    "†": r"$\dagger$", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip


def as_latex(tables: Sequence[TextTable]) -> str:
    r"""One `table` environment per table; needs `\usepackage{booktabs}`."""
    return "\n\n".join(map(_one, tables)) + "\n"


def escaped(text: str) -> str:
    """`text` with everything that LaTeX would read as a command made harmless."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _one(table: TextTable) -> str:
    kinds = "".join("r" if i in table.numeric else "l" for i in range(len(table.headers)))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(table.title)}}}",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        line_of(list(map(escaped, table.headers))),
        r"\midrule",
    ]
    for index, cells in enumerate(table.rows):
        if index in table.sections:
            lines += [] if index == 0 else [r"\midrule"]
            title = rf"\multicolumn{{{len(table.headers)}}}{{l}}{{\emph{{%s}}}} \\"
            lines.append(title % escaped(table.sections[index]))
        lines.append(
            line_of(
                [
                    _AROUND.get(table.marks.get((index, at), ""), "%s") % escaped(cell)
                    for at, cell in enumerate(cells)
                ]
            )
        )
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {escaped(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"])


def line_of(cells: Sequence[str]) -> str:
    """Cells of one row."""
    # After the end of the line before, these would be its arguments.
    shield = "{}" if cells and cells[0].startswith(("[", "*")) else ""
    return shield + " & ".join(cells) + r" \\"
