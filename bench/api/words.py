"""Words of messages that follow a number, and numbers with their unit."""


def plural(number: int, word: str) -> str:
    """`word` for one, else with an `s`: what stands behind `number`."""
    return word if number == 1 else f"{word}s"


def readable_size(number: int) -> str:
    """Bytes in the largest unit of which it has one: `1.2 GB`, `35.0 MB`, `12 bytes`."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:,.1f} {unit}"
    return f"{number} {plural(number, 'byte')}"
