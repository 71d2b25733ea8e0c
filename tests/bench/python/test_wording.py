"""Errors of the functions for Python name their arguments and no options of the command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cdfss_bench import build, open_domain, run
from cdfss_bench.bench.python.wording import in_python_words
from cdfss_bench.errors import DataError, UserError


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: open_domain("isic"), "name it with root=DIR or CDFSS_DATA_ROOT"),
        (lambda: open_domain("isic", "/none"), "name another with root=DIR or CDFSS_DATA_ROOT"),
        (
            lambda: run("prototype", "isic"),
            "name it with data_root=DIR or CDFSS_DATA_ROOT, or use suite='mini'",
        ),
        (
            lambda: run("prototype", "isic", lists="/none"),
            "name another with lists=DIR or CDFSS_LISTS",
        ),
        (
            lambda: build("ssp", pretrained=True, weights_dirs="/none"),
            "name another with weights_dirs=DIR, or leave it out",
        ),
        (
            lambda: run("prototype", "mini-lesion", shots=1000),
            "use fewer shots (shots=1), or complete the data",
        ),
        (lambda: run(3, "mini-lesion"), None),  # pyright: ignore[reportArgumentType]
        (lambda: run("prototype", told=3), "told=print"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_a_hint_names_the_arguments(
    call: Callable[[], object],
    hint: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in ("CDFSS_DATA_ROOT", "CDFSS_LISTS"):
        monkeypatch.delenv(name, raising=False)
    if hint and "CDFSS_LISTS" in hint:
        monkeypatch.setenv("CDFSS_DATA_ROOT", str(tmp_path))
    with pytest.raises(UserError) as refused:
        call()
    assert refused.value.hint == hint
    assert "--" not in str(refused.value)


def test_commands_stay_as_a_shell_takes_them() -> None:
    @in_python_words(support="supports")
    def asked(*, backbone: str = "", supports: str = "") -> None:
        raise DataError(
            f"no file of --backbone {backbone}{supports}",
            hint="cdfss-bench weights convert FILE --backbone B, or check --backbone and --method; "
            "give --support 'a b.png', or --backbone resnet-mini for a trial",
        )

    with pytest.raises(DataError) as refused:
        asked(backbone="b")
    assert refused.value.problem == "no file of backbone='b'"
    # `--method` is no argument of this function, so what names it is left out.
    assert refused.value.hint == (
        "cdfss-bench weights convert FILE --backbone B, "
        "give supports='a b.png', or backbone='resnet-mini' for a trial"
    )
