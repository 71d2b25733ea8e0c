"""Which device a word means."""


def chosen_device(device: str) -> str:
    """`auto` decided; whatever it is, fp32 keeps its digits there from now on.

    Raises:
        UserError: if the device is not there.
    """
    import torch

    from cdfss_bench.errors import UserError

    from .precision import exact_fp32

    exact_fp32()
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    hint = "name cpu, cuda, cuda:1 or auto"
    try:
        torch.device(device)
    except RuntimeError as error:  # whose message lists every kind of device that torch can have
        problem = f"device {device} cannot be used here: torch knows no such device"
        raise UserError(problem, hint=hint) from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {device} cannot be used here: {reason}", hint=hint) from error
    return device
