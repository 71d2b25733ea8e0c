"""Operations by hand: kernels times channels times positions, nothing taken from the networks."""

from collections.abc import Sequence


def product(rows: int, inner: int, columns: int) -> int:
    """Of two matrices."""
    return 2 * rows * inner * columns


def transformer(width: int, depth: int, patches: int, patch: int = 16, *, special: int = 1) -> int:
    """One image: 12 width^2 multiply-adds a token and block, attention twice T^2, embedding."""
    tokens = patches + special
    block = 2 * tokens * 12 * width**2 + 2 * 2 * tokens**2 * width
    return 2 * patches * width * 3 * patch**2 + depth * block


def conv(inside: int, out: int, kernel: int, side: int) -> int:
    """A square convolution without bias that gives maps of `side`."""
    return 2 * inside * out * kernel**2 * side**2


def after(side: int, kernel: int, stride: int) -> int:
    """Side of a map behind a window with padding `kernel // 2`."""
    return (side + 2 * (kernel // 2) - kernel) // stride + 1


def bottleneck(inside: int, width: int, before: int, side: int, *, first: bool) -> int:
    """1x1, 3x3 (which has the stride) and 1x1, and a 1x1 shortcut on the first of a layer."""
    branch = conv(inside, width, 1, before) + conv(width, width, 3, side)
    shortcut = conv(inside, 4 * width, 1, side) if first else 0
    return branch + conv(width, 4 * width, 1, side) + shortcut


def resnet50(size: int, *, deep: bool = False, layers: int = 4, stride: int = 32) -> int:
    """ResNet-50 up to a layer; beyond `stride` dilation keeps the side."""
    half = after(size, 7, 2)
    stem = 128 if deep else 64
    side = after(half, 3, 2)
    if deep:
        total = conv(3, 64, 3, half) + conv(64, 64, 3, half) + conv(64, 128, 3, half)
    else:
        total = conv(3, 64, 7, half)
    inside, reached = stem, 4
    for number, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)][:layers]):
        step = 1 if number == 0 or reached == stride else 2
        reached *= step
        before, side = side, after(side, 3, step)
        for block in range(blocks):
            first = block == 0
            total += bottleneck(inside, width, before if first else side, side, first=first)
            inside = 4 * width
    return total


def resnet_mini(size: int, *, layers: int = 4, stride: int = 32) -> int:
    """The mini suite's: a 3x3 stem and two basic blocks in each layer."""
    half = after(size, 3, 2)
    total, inside, side, reached = conv(3, 32, 3, half), 32, after(half, 3, 2), 4
    for number, width in enumerate([32, 48, 96, 128][:layers]):
        step = 1 if number == 0 or reached == stride else 2
        reached *= step
        side = after(side, 3, step)
        total += conv(inside, width, 3, side) + 3 * conv(width, width, 3, side)
        if step > 1 or inside != width:
            total += conv(inside, width, 1, side)
        inside = width
    return total


WINDOWS = ([(5, 4), (5, 4), (3, 2)], [(5, 4), (3, 2), (3, 2)], [(3, 2), (3, 2), (3, 2)])
"""Kernels and support strides of HSNet's squeezing blocks, fine to coarse."""


class Pyramid:
    """HSNet's matching of one query with one support; stages from fine to coarse."""

    def __init__(
        self,
        sides: Sequence[int],
        channels: Sequence[int],
        taps: Sequence[int],
        widths: Sequence[int],
    ):
        self.stages = list(zip(sides, channels, taps, strict=True))
        self.widths = list(widths)

    @property
    def correlation(self) -> int:
        """Every position of the query with every one of the support, C channels each."""
        return sum(2 * c * taps * side**4 for side, c, taps in self.stages)

    def squeeze(self, stage: int) -> int:
        """Three centre-pivot 4-D convolutions, each two 2-D ones at as many positions."""
        side, _, taps = self.stages[stage]
        total, inside, left = 0, taps, side
        for (kernel, step), out in zip(WINDOWS[stage], self.widths, strict=True):
            left = -(-left // step)
            total += 2 * 2 * inside * out * kernel**2 * side**2 * left**2
            inside = out
        return total

    @property
    def mixing_and_decoding(self) -> int:
        """Two mixing blocks on what is left of the support, and the decoder."""
        _, middle, last = self.widths
        fine, half, left = self.stages[0][0], self.stages[1][0], self.stages[2][0]
        for _, step in WINDOWS[2]:
            left = -(-left // step)
        blocks = sum(3 * 4 * last**2 * 3**2 * q**2 * left**2 for q in (half, fine))
        decoder = conv(last, last, 3, fine) + conv(last, middle, 3, fine)
        return blocks + decoder + conv(middle, middle, 3, 2 * fine) + conv(middle, 2, 3, 2 * fine)

    @property
    def learner(self) -> int:
        """All of what is learnt."""
        return sum(self.squeeze(stage) for stage in range(3)) + self.mixing_and_decoding

    @property
    def transformation(self) -> int:
        """PATNet as published: a C x C matrix per tap, and both maps multiplied by it."""
        return sum(t * (4 * c * c + 2 * c * c * 2 * s * s) for s, c, t in self.stages)

    @property
    def two_coordinates(self) -> tuple[int, int]:
        """PATNet as implemented, of a support and of a query with its correlations, per shot."""
        support = sum(t * (4 * c * s * s + 16 * c) for s, c, t in self.stages)
        query = sum(t * (4 * c * s * s + 2 * 2 * s**4) for s, c, t in self.stages)
        return support, query
