"""Words of messages that follow a number."""


def plural(number: int, word: str) -> str:
    """`word` for one, else with an `s`: what stands behind `number`."""
    return word if number == 1 else f"{word}s"
