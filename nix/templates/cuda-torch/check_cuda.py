"""Does FlashAttention work on this machine's GPU? Prints what is there, and computes something with it.

Exit code 0: it does. 1: it does not, and standard error says why.
"""

import os
import sys
from pathlib import Path

# Where programs of Nix look for the driver's libraries. devbox puts them there on each boot.
DRIVER_LIBRARIES = Path("/run/opengl-driver/lib")
# What the kernel's half of the driver says of itself.
DRIVER_VERSION = Path("/proc/driver/nvidia/version")


class Failed(Exception):
    """Why it does not work, and what can be done."""

    def __init__(self, what, hint):
        super().__init__(what)
        self.hint = hint


def show(name, value):
    print(f"{name:<12} {value}", flush=True)


def import_torch():
    try:
        import torch
    except Exception as error:
        raise Failed(
            f"torch can't be imported: {error}",
            "is this the dev shell's Python? `which python3` must be in /nix/store",
        ) from error
    show("torch", f"{torch.__version__}, CUDA {torch.version.cuda}, from {Path(torch.__file__).parent}")
    if torch.version.cuda is None:
        raise Failed(
            "this torch was built without CUDA",
            "take `torch` of a nixpkgs with `cudaSupport = true`, and not `torch-bin`: on arm64 that has no CUDA",
        )
    return torch


def driver_version():
    try:
        return DRIVER_VERSION.read_text().splitlines()[0].removeprefix("NVRM version: ")
    except OSError:
        return None


def find_gpu(torch):
    driver = driver_version()
    show("driver", driver or "none")
    if driver is None:
        raise Failed(
            "this machine has no NVIDIA driver",
            "take a machine with a GPU; on one that has one, `nvidia-smi` says what is wrong",
        )
    if not (DRIVER_LIBRARIES / "libcuda.so.1").exists():
        raise Failed(
            f"the driver's libraries are not in {DRIVER_LIBRARIES}, where programs of Nix look for them",
            "on a box of devbox: `sudo systemctl restart devbox-driver`, and `journalctl -u devbox-driver`",
        )
    try:
        torch.cuda.init()
        torch.zeros(1, device="cuda")
    except Exception as error:
        raise Failed(
            f"the GPU can't be used: {error}",
            f"the driver must be new enough for CUDA {torch.version.cuda}; `nvidia-smi` shows what it can",
        ) from error
    major, minor = torch.cuda.get_device_capability()
    compiled = torch.cuda.get_arch_list()
    show("GPU", f"{torch.cuda.get_device_name()}, sm_{major}{minor}; torch is made for {' '.join(compiled)}")
    return major, minor


def import_flash_attn():
    try:
        import flash_attn
        from flash_attn import flash_attn_func
    except Exception as error:
        raise Failed(
            f"flash_attn can't be imported: {error}",
            "it must be built against this torch: take both from one nixpkgs",
        ) from error
    show("flash_attn", flash_attn.__version__)
    return flash_attn_func


def forward_pass(torch, flash_attn_func, capability):
    torch.manual_seed(0)
    # Batch, sequence, heads, head dimension: the order that FlashAttention takes.
    query, key, value = (
        torch.randn(2, 256, 8, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3)
    )
    try:
        got = flash_attn_func(query, key, value, causal=True)
        torch.cuda.synchronize()
    except Exception as error:
        major, minor = capability
        raise Failed(
            f"FlashAttention's forward pass failed: {error}",
            f"it must be compiled for this GPU: `FLASH_ATTN_CUDA_ARCHS` in flake.nix, here \"{major}{minor}\"",
        ) from error

    # The same by the formula, in full precision.
    query, key, value = (tensor.float().transpose(1, 2) for tensor in (query, key, value))
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    future = torch.ones(scores.shape[-2:], device="cuda", dtype=torch.bool).triu(1)
    expected = (scores.masked_fill(future, float("-inf")).softmax(-1) @ value).transpose(1, 2)
    difference = (got.float() - expected).abs().max().item()
    show("attention", f"{tuple(got.shape)}, at most {difference:.1e} from the formula")
    # bfloat16 has 8 significant bits, and the results are below 4. Not a number compares false, and so fails.
    if not difference < 0.05:
        raise Failed(
            f"FlashAttention's result is {difference:.1e} away from what the formula gives",
            "do not compute with this environment: `devbox verify --deep` says whether its files are whole",
        )


def main():
    show("python", f"{sys.version.split()[0]}, pages of {os.sysconf('SC_PAGE_SIZE') // 1024} KiB")
    torch = import_torch()
    capability = find_gpu(torch)
    forward_pass(torch, import_flash_attn(), capability)


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        print(f"check-cuda: {failed}", file=sys.stderr)
        print(f"hint: {failed.hint}", file=sys.stderr)
        sys.exit(1)
    print("check-cuda: FlashAttention works")
