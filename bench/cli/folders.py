"""Folders that a command writes to: a name that means a file is refused."""

from pathlib import Path

from cdfss_bench.errors import UserError

_OF_FILES = (
    ".png", ".jpg", ".jpeg", ".svg", ".pdf", ".html", ".htm", ".md", ".csv", ".json", ".yaml",
    ".yml", ".zip", ".tar", ".gz", ".safetensors", ".pth", ".pt", ".txt",
)  # fmt: skip


def refuse_file(option: str, folder: Path | None) -> None:
    """Refuse a folder that is named as a file, or is one.

    Raises:
        UserError: naming the option and a folder in its place.
    """
    if folder is None or folder.is_dir():
        return
    if folder.is_file() or folder.suffix.lower() in _OF_FILES:
        word = "is a file" if folder.is_file() else "is named as a file"
        raise UserError(
            f"{option} {folder} {word}, and a folder is written",
            hint=f"name a folder: {option} {folder.with_suffix('') if folder.suffix else 'DIR'}",
        )
