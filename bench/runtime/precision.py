"""fp32 means fp32, on a GPU too.

torch lets cuDNN round the inputs of its convolutions to TF32, ten bits of the twenty-three, unless
it is told otherwise: enough to move masks. What is faster and less exact has to be asked for by
name (`--precision bf16`), and stands in the record.
"""

from __future__ import annotations


def exact_fp32() -> None:
    """Products and convolutions of this process keep their digits from now on."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def rounds_to_tf32() -> bool:
    """Whether a GPU may round the inputs of products or of convolutions in this process."""
    import torch

    return bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)
