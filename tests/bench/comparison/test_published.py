"""What papers report: read with the conditions under which it was measured."""

import csv
import io
from pathlib import Path

import pytest

from cdfss_bench.bench.comparison.published import COMPARABILITY, find_published, read_published
from cdfss_bench.bench.reporting.columns import only_columns
from cdfss_bench.bench.reporting.published_table import published_table
from cdfss_bench.errors import RecordError

from ...conftest import CHECKOUT
from ...support.records import write_cell
from ...support.shown import board_of

HEADER = (
    "method,venue,year,backbone,finetunes_on_target,shots,fss1000,deepglobe,isic,chestxray,mean,"
    "comparability,source\n"
)


def table(folder: Path, *lines: str) -> Path:
    path = folder / "published.csv"
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


def test_every_committed_line_says_how_it_was_made() -> None:
    reports = read_published(CHECKOUT / "results" / "published.csv")
    lacking = {r.method for r in reports if not set(r.comparability) & {*COMPARABILITY}}
    assert lacking == {"CMP"}  # an abstract with two means
    found = {word for report in reports for word in report.comparability}
    assert found == set(COMPARABILITY)


def test_lines_of_other_conditions_are_other_rows(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "X,,2024,R,no,1,,,40,,,source training; secondary source,a table",
        "X,,2024,R,no,1,,,41,,,source training,its paper",
        "X,,2024,R,no,1,,,60,,,source training; other metric,its code",
    )
    first, second = read_published(path)
    assert (first.figures["isic"], second.figures["isic"]) == ((40.0, 41.0), (60.0,))
    assert first.comparability == ("source training",)  # one of its sources is its own
    assert second.other_metric


def test_a_word_that_is_no_condition_is_refused_with_its_line(tmp_path: Path) -> None:
    good = "X,,2024,R,no,1,,,40,,,source training,a"
    path = table(tmp_path, good, good.replace("source training", "trained somehow"))
    with pytest.raises(RecordError, match=r"line 3: .*'trained somehow' is none of"):
        read_published(path)


HEAD = "method,venue,year,backbone,finetunes_on_target,shots"


def test_a_further_domain_is_a_further_column(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_text(f"{HEAD},isic,my-data,mean,source\nX,V,2026,ResNet-50,no,1,30.5,,30.5,here\n")
    (report,) = read_published(path)
    assert report.figures == {"isic": (30.5,), "my-data": (), "mean": (30.5,)}


def test_figures_of_one_name_are_told_apart_where_the_backbone_is_hidden(tmp_path: Path) -> None:
    write_cell(tmp_path, "ssp")
    reports = read_published(CHECKOUT / "results" / "published.csv")
    (narrow,) = only_columns([published_table(board_of(tmp_path), reports)], ["isic"])
    names = [cells[0] for cells in narrow.rows if cells[0].startswith("LoEC (2025)")]
    assert len(names) == len(set(names)) >= 2
    assert any("ResNet" in name for name in names)


def test_the_file_of_the_package_names_the_four_targets() -> None:
    for report in read_published(find_published(Path("nowhere"))):
        assert list(report.figures) == ["fss1000", "deepglobe", "isic", "chestxray", "mean"]


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD},isic,source\nX,V,2026,ResNet-50,no,1,30.5,here\n",
        f"{HEAD},isic,mean,source\nX,V,2026,ResNet-50,no,1,much,30.5,here\n",
        "isic,mean\n1,2\n",
    ],
)
def test_a_file_that_is_no_such_table_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_text(text)
    with pytest.raises(RecordError, match=r"line [12]: no table of published figures"):
        read_published(path)


LINES = (
    'X,,2024,R,no,1,69.15,,40.5,,47.2,source training; secondary source,"a table, page 2"',
    "Y,,2024,R,no,5,,,41,,,source training,its paper",
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read_as_spreadsheets_save_it(
    encoding: str, sign: str, end: str, tmp_path: Path
) -> None:
    expected = read_published(table(tmp_path, *LINES))
    rows = csv.reader(io.StringIO(HEADER + "\n".join([*LINES, "  ", ""])))
    out = io.StringIO()
    csv.writer(out, delimiter=sign, lineterminator=end).writerows(rows)
    path = tmp_path / "saved.csv"
    path.write_bytes(out.getvalue().encode(encoding))
    assert read_published(path) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: .*no column"),
        (HEADER, "holds no published figures"),
        (HEADER.replace(",year,", ",jahr,") + LINES[0], "line 1: .*no column 'year'"),
        (HEADER.replace(",isic,", ",deepglobe,") + LINES[0], "two columns 'deepglobe'"),
        (HEADER + LINES[0] + ",more", "line 2: .*not as many values"),
        (HEADER + LINES[0] + "\nA,B\n", "line 3: .*not as many values"),
        (HEADER + LINES[0].replace("69.15", "nan"), "fss1000 'nan' is no percentage"),
        (HEADER + LINES[0].replace("69.15", "6915"), "fss1000 '6915' is no percentage"),
        (HEADER + LINES[0].replace(",1,", ",1.0,"), "shots '1.0' is no number"),
        (HEADER + LINES[0].replace("page", "\xe9"), "is no UTF-8 text"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(
    text: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecordError, match=sentence):
        read_published(path)
