"""What people type: output, exit codes, and one sentence for every mistake."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cdfss_bench.bench.records.timings import STAGES

from ...support.program import program

Type = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def typed(seeded_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    monkeypatch.setenv("CDFSS_WEIGHTS", str(seeded_weights))
    monkeypatch.setenv("CDFSS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("CDFSS_DEVICE", "cpu")

    def run(command: str, *more: str) -> subprocess.CompletedProcess[str]:
        return program(*command.split(), *more, cwd=tmp_path)

    return run


def test_run_then_report(typed: Type, tmp_path: Path) -> None:
    first = typed("run -m prototype -m loec -k 1 -k 5 --episodes 4")
    assert first.returncode == 0, first.stderr
    assert "no data root is named (--data-root): running the procedural mini suite" in first.stderr
    # The seeded folder holds the backbone alone.
    assert "loec (not source-trained) · mini-lesion · 5-shot · seed 0: mIoU" in first.stderr
    assert "prototype · mini-lesion · 5-shot · seed 0: mIoU" in first.stderr
    assert first.stderr.count("warning: loec: only the backbone's weights are here") == 1
    assert "hint: cdfss-bench train -m 'ssp+lem' --backbone resnet-mini" in first.stderr
    assert "mini suite, 5-shot mIoU" in first.stdout
    again = typed("run -m prototype -m loec -k 1 -k 5 --episodes 4")
    assert again.stderr.count("already complete") == 16
    for form in ("table", "md", "csv", "json"):
        shown = typed(f"report -f {form}")
        assert shown.returncode == 0
        assert "loec" in shown.stdout
    lines = json.loads(typed("report -f json").stdout)
    assert {line["domain"] for line in lines} == {
        "mini-chest", "mini-landcover", "mini-lesion", "mini-objects",
    }  # fmt: skip
    assert all(line["params"] and line["flops_episode"] for line in lines)
    written = typed("report -f csv -o out/board.csv")
    assert written.stdout == ""
    assert (tmp_path / "out" / "board.csv").read_text().startswith("suite,")
    runs = json.loads(typed("list runs loec --json").stdout)
    assert len(runs) == 8


def test_json_of_a_run_is_json(typed: Type) -> None:
    done = typed("run -m all-foreground -d mini-chest --episodes 3 --json")
    (line,) = json.loads(done.stdout)
    assert line["label"] == "all-foreground"


def test_dry_run_shows_cells_and_learns_the_time(typed: Type) -> None:
    before = json.loads(typed("run -m ssp -d mini-chest --episodes 5 --dry-run --json").stdout)
    assert [(c["state"], c["left"], c["seconds"]) for c in before] == [("to do", 5, None)]
    typed("run -m ssp -d mini-chest --episodes 5 --no-cost")
    after = json.loads(
        typed("run -m ssp -d mini-chest --seed 0..1 --episodes 5 --dry-run --json").stdout
    )
    assert [c["state"] for c in after] == ["complete", "to do"]
    assert after[1]["seconds"] > 0


def test_a_run_says_where_its_time_went(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    words = "run -m prototype -d mini-lesion --episodes 3 --no-cost --profile"
    told = typed(words)
    assert "where the time went" not in told.stdout
    header, row = (
        next(line for line in told.stderr.splitlines() if line.split()[:1] == [first]).split()
        for first in ("method", "prototype")
    )
    assert [word for word in header if word in STAGES] == list(STAGES)
    assert "mini-lesion" in row
    assert "where the time went" in typed(words).stderr, "what is known already is told again"


def test_memory_changes_no_number(typed: Type, tmp_path: Path) -> None:
    words = "run -m hsnet -d mini-lesion -k 2 --episodes 6 --no-cost"
    assert typed(f"{words} --results ample").returncode == 0
    assert typed(f"{words} --results none --memory 0").returncode == 0
    ample, none = (next(tmp_path.glob(f"{name}/runs/*/*/*")) for name in ("ample", "none"))
    assert (ample / "episodes.jsonl").read_bytes() == (none / "episodes.jsonl").read_bytes()
    encoded = [
        sum(int(n) for n in re.findall(r'"encoded": (\d+)', (at / "timings.jsonl").read_text()))
        for at in (ample, none)
    ]
    assert encoded[0] < encoded[1]


def test_a_plan_file_is_the_same_as_flags(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(
        "methods: [prototype]\ndomains: [mini-lesion]\nshots: [1, 5]\nepisodes: 3\n"
    )
    assert typed("run plan.yaml --no-cost").returncode == 0
    flags = typed("run -m prototype -d mini-lesion -k 1 -k 5 --episodes 3 --no-cost")
    assert flags.stderr.count("already complete") == 2
    typed_wins = typed("run plan.yaml -k 2 --no-cost")
    assert "2-shot" in typed_wins.stderr
    assert "5-shot" not in typed_wins.stderr


def test_a_plan_file_has_the_words_of_the_flags(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CDFSS_RESULTS")
    (tmp_path / "plan.yaml").write_text(
        "method: [prototype, 'ssp+lcm[k=5,beta=0.6]']\ndomain: mini-lesion\nshots: 1,5\n"
        "seed: 0..1\nepisodes: 2\nresults: elsewhere\nno-cost: true\n"
    )
    planned = typed("run plan.yaml --dry-run --json")
    assert planned.returncode == 0, planned.stderr
    assert [cell["name"] for cell in json.loads(planned.stdout)] == [
        f"{name} · mini-lesion · {shots}-shot · seed {seed}"
        for name in ("prototype", "ssp+lcm[k=5,beta=0.6] (not source-trained)")
        for shots in (1, 5)
        for seed in (0, 1)
    ]
    assert typed("run plan.yaml -m prototype -k 1 --seed 0").returncode == 0
    (record,) = (tmp_path / "elsewhere").glob("runs/*/*/*/run.json")
    assert json.loads(record.read_text())["cost"] is None
    assert typed("run --plan plan.yaml -m prototype -k 1 --results here").returncode == 0
    assert (tmp_path / "here").is_dir()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("job: 2", "plan.yaml: unknown word 'job'\n  hint: did you mean jobs?"),
        ("domian: isic", "plan.yaml: unknown word 'domian'\n  hint: did you mean domain?"),
        ("dry-run: true", "plan.yaml: unknown word 'dry-run'"),
        ("shots: one", "plan.yaml: shots one is neither a number nor a range"),
        ("methods: ssp", "plan.yaml: 'methods' is said twice"),
        ("protocol: stict", "plan.yaml: 'protocol'"),
        ("jobs: many", "'--jobs'"),
    ],
)
def test_a_wrong_line_of_a_plan_is_named(
    line: str, sentence: str, typed: Type, tmp_path: Path
) -> None:
    (tmp_path / "plan.yaml").write_text(f"method: prototype\n{line}\n")
    done = typed("run plan.yaml --dry-run")
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_several_values_stand_in_one_word(typed: Type) -> None:
    done = typed(
        "run -m prototype,ssp+lcm[k=5,beta=0.6] -d mini-lesion,mini-chest -k 1,5 --seed 0,2"
        " --episodes 2 --dry-run --json"
    )
    names = {cell["name"] for cell in json.loads(done.stdout)}
    assert len(names) == 16
    assert "ssp+lcm[k=5,beta=0.6] (not source-trained) · mini-chest · 5-shot · seed 2" in names


def test_a_dry_run_shows_options_and_sums_up_many_cells(typed: Type) -> None:
    few = typed("run -m ssp+lcm[k=5,beta=0.6] -d mini-lesion --episodes 2 --dry-run").stdout
    assert re.search(r"ssp\+lcm\[k=5, *", few)
    assert max(map(len, few.splitlines())) <= 80
    many = "run -m prototype,all-foreground -k 1,2,5 --seed 0..5 --episodes 2 --dry-run"
    table = typed(many).stdout
    assert "144 cells" in table
    (row,) = (line.split() for line in table.splitlines() if line.startswith(" prototype"))
    assert {"72", "144"} <= set(row)
    assert len(table.splitlines()) < 15
    assert len(typed(f"{many} --wide").stdout.splitlines()) > 144
    assert len(json.loads(typed(f"{many} --json").stdout)) == 144


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("run", "no method is selected"),
        ("run -m loek", "did you mean loec"),
        ("run -m ssp[refin=1]", "did you mean refine"),
        ("run -m ssp[refine=maybe]", "takes true or false, not 'maybe'"),
        ("run -m lcm", "is a plug-in and needs a host"),
        ("run -m hsnet+lem", "hsnet is trained with a frozen backbone"),
        ("run -m ssp -d mini-lesoin", "did you mean mini-lesion"),
        ("run -m ssp -d isic", "ISIC 2018 needs a data root"),
        ("run -m ssp --data-root nowhere", "the data root nowhere does not exist"),
        ("run -m ssp --seed 4..0", "ranges go upwards"),
        ("run -m ssp --seed 0..99999999999", "at most 10,000 seeds at once"),
        ("run -m ssp --seed 4294967296", "seeds begin at 0 and end at"),
        ("run -m ssp --executor rai -d mini-chest", "did you mean ray"),
        ("run -m ssp -k 1,x", "--shots x is neither a number nor a range"),
        ("run -m ssp -k 0", "--shots 0: shots begin at 1"),
        *((f"run -m ssp --memory {memory}", "--memory") for memory in ("nan", "-1", "inf", "much")),
        ("list methods loek", "did you mean loec"),
        ("run -m ssp --seed one", "neither a number nor a range"),
        ("run -m ssp --protocol stict", "unknown value 'stict' of --protocol"),
        ("run -m ssp --suite medi", "unknown value 'medi' of --suite"),
        ("run -m ssp -d mini-chest --backbone resnet5", "unknown backbone"),
        ("run -m ssp --weights nowhere.safetensors -d mini-chest", "does not exist"),
        ("run -m ssp -m loec --weights a.pth", "say whose they are"),
        ("run plan.yaml", "plan.yaml cannot be read"),
        ("run -m ssp --device tpu9 -d mini-chest", "cannot be used here"),
        ("run -m ssp --plugin nowhere", "the plug-in folder nowhere does not exist"),
        ("report", "there are no records"),
        ("report -f pdf", "unknown format"),
        ("data show mini-lesoin -o x.png", "did you mean mini-lesion"),
        ("weights fetch resnet-mini", "no public address"),
        ("train -m lcm --source mini", "needs a host"),
        ("train -m prototype --source mini", "nothing to train"),
        ("train --source mini", "no method is named"),
        ("train -m dra --source mini --init nowhere.pth", "nowhere.pth does not exist"),
        ("train -m dra --source mini --init sps", "did you mean ssp"),
        ("train -m dra --source mini --init prototype", "starts from weights of prototype"),
        ("train -m ssp --source mni", "source 'mni'"),
        ("train -m ssp --source pascal", "needs a data root"),
        ("train -m ssp --source mini --freeze 4", "unknown value '4' of --freeze"),
        ("train -m ssp --source mini --select target-oracle", "say --oracle"),
        ("train --plan freez", "did you mean freeze"),
        (f"verify {'a' * 300}", "holds no run.json"),
        (f"train -m dra --source mini --init {'a' * 300}.pth", "File name too long"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    command: str, sentence: str, typed: Type
) -> None:
    done = typed(command)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(typed: Type) -> None:
    done = typed("--debug run -m loek")
    assert "Traceback" in done.stderr
    assert done.returncode == 1


def test_refused_cells_exit_with_2_and_the_rest_is_done(typed: Type) -> None:
    done = typed("run -m prototype@shuffled-support -d mini-chest -d mini-lesion --episodes 3")
    assert done.returncode == 2
    assert "refused: mini-chest has one class" in done.stderr
    assert "mini-lesion · 1-shot · seed 0: mIoU" in done.stderr


def test_a_method_that_breaks_exits_with_1_and_the_rest_is_done(
    typed: Type, tmp_path: Path
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "broken.yaml").write_text(
        "title: Broken\nkind: control\nclass: net:Broken\nsummary: raises\n"
    )
    (folder / "net.py").write_text(
        "from cdfss_bench.methods.controls.constant import Constant\n\n\n"
        "class Broken(Constant):\n"
        "    def score(self, query, states, *, shots):\n"
        "        raise ZeroDivisionError('on purpose')\n"
    )
    done = typed("run -m broken -m all-foreground -d mini-chest --episodes 3 --plugin", str(folder))
    assert done.returncode == 1
    assert "failed: ZeroDivisionError: on purpose (net.py:" in done.stderr
    assert "all-foreground · mini-chest · 1-shot · seed 0: mIoU" in done.stderr
    assert "Traceback" not in done.stderr


def test_pictures_of_predictions(typed: Type, tmp_path: Path) -> None:
    done = typed("predict -m prototype -d mini-lesion -k 2 --count 2 -o pictures")
    assert done.returncode == 0, done.stderr
    (picture,) = (tmp_path / "pictures").iterdir()
    from PIL import Image

    with Image.open(picture) as image:
        assert image.size == (4 * 256, 2 * (256 + 32))


def test_doctor_and_lists(typed: Type) -> None:
    findings = json.loads(typed("doctor --json").stdout)
    assert {f["state"] for f in findings} <= {"fine", "absent"}
    assert any(f["what"] == "weights of resnet-mini" and f["state"] == "fine" for f in findings)
    methods = json.loads(typed("list methods --json").stdout)
    assert {"ssp", "hsnet", "loec", "lem", "lcm"} <= {m["name"] for m in methods}
    for words in ("list methods", "list domains", "weights list", "list methods ssp", "doctor"):
        table = typed(words).stdout
        assert "─" * 20 in table
        assert max(map(len, table.splitlines())) <= 80, words
    assert re.search(r"^ refine +true +The second round", typed("list methods SSP").stdout, re.M)
    assert "venue" in typed("list methods --wide").stdout
    assert "mini-lesion" in typed("list domains").stdout
    weights = json.loads(typed("weights list --json").stdout)
    assert any(w["what"].startswith("hsnet") and w["here"] for w in weights)


def test_dra_is_trained_from_ssp_and_found(typed: Type) -> None:
    train = "train --source mini --episodes 4 --batch 2 --weights-dir trained -o trained -m"
    refused = typed(f"{train} dra")
    assert refused.returncode == 2
    assert "starts from weights of ssp on resnet-mini" in refused.stderr
    assert typed(f"{train} ssp").returncode == 0
    trained = typed(f"{train} dra")
    assert trained.returncode == 0, trained.stderr
    assert "resnet-mini from ssp-resnet-mini.safetensors" in trained.stderr
    run = "run -m dra -d mini-lesion -k 2 --episodes 2 --no-cost --weights-dir trained --json"
    (line,) = json.loads(typed(run).stdout)
    assert line["weights"] == "trained on mini-source (batch 2, episodes 4)"
    assert line["selection"] == "last"


def test_weights_of_sam_are_named(typed: Type, tmp_path: Path) -> None:
    command = "train -m ssp --source mini --episodes 4 --batch 2 --sam 0.05 -o trained"
    trained = typed(command)
    assert trained.returncode == 0, trained.stderr
    (path,) = (tmp_path / "trained").glob("*.safetensors")
    assert path.name == "ssp-sam0.05-resnet-mini.safetensors"
    listed = json.loads(typed("weights list --weights-dir trained --json").stdout)
    (entry,) = [entry for entry in listed if entry["file"] == path.name]
    assert entry["trained on"] == "mini-source with SAM 0.05 (batch 2, episodes 4)"


@pytest.mark.parametrize(
    ("trained", "method", "episodes", "file"),
    [
        ("ssp+lem", "loec", 4, "ssp+lem-resnet-mini"),
        ("loec-vit", "loec-vit", 4, "ssp-vit_hidden=48_+lem-vit-mini"),
        ("fptrans[shots=2]", "fptrans[shots=2]", 2, "fptrans_shots=2_hidden=48-vit-mini"),
    ],
)
def test_training_writes_weights_of_the_small_backbone_that_run_finds(
    trained: str, method: str, episodes: int, file: str, typed: Type, tmp_path: Path
) -> None:
    options = f"--source mini --episodes {episodes} --batch 2 --seed 1 -o trained"
    done = typed("train -m", trained, *options.split())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "trained" / f"{file}.safetensors").is_file()
    options = "-d mini-chest -k 2 --episodes 2 --no-cost --weights-dir trained --json"
    done = typed("run -m", method, *options.split())
    assert done.returncode == 0, done.stderr
    (line,) = json.loads(done.stdout)
    assert file.endswith(line["backbone"])
    assert line["weights"] == f"trained on mini-source (batch 2, episodes {episodes})"
    assert line["selection"] == "last"
