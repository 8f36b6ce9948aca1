"""The precision of a network's passes: bfloat16 by autocast, or float32 throughout."""

import torch

# Instructions that multiply bfloat16. Without one of them torch emulates it, at twice the time of
# float32, and `torch.backends.mkldnn` calls that supported too.
_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _BF16_INSTRUCTIONS)


def resolved(precision: str, device: torch.device) -> str:
    """`bf16` or `fp32`; `auto` is bf16 where the device computes it natively, else fp32.

    Native are CUDA devices from compute capability 8.0 on, and CPUs with AVX512-BF16 or AMX.
    """
    if precision != "auto":
        return precision
    return "bf16" if _computes_bf16(device) else "fp32"
