"""Names of devices: one, several with commas, or all GPUs."""

from __future__ import annotations

import torch

KINDS = ("cpu", "cuda", "mps", "xpu")
_EXPECTED = "expected auto, cpu, cuda or cuda:1; several as cuda:0,cuda:1; or cuda:all"


def device_list(text: str) -> tuple[str, ...]:
    """The devices that `text` names, in its order; auto is CUDA where there is one, cuda:all every GPU by number.

    The CPU may be named more than once: for several processes on it. Raises ValueError for an empty or unknown name, a
    device that is not here, or the same GPU twice.
    """
    if text.strip() == "auto":
        return ("cuda" if torch.cuda.is_available() else "cpu",)
    names: list[str] = []
    for part in text.split(","):
        name = part.strip()
        names += _all_gpus(text) if name == "cuda:all" else [_checked(name, text)]
    seen: set[torch.device] = set()
    for name in names:
        device = torch.device(name) if ":" in name or name == "cpu" else torch.device(name, 0)
        if device in seen and device.type != "cpu":
            raise ValueError(f"device '{text}' names {device} twice. One process a GPU is what it can serve.")
        seen.add(device)
    return tuple(names)


def one_device(text: str) -> str:
    """The device that `text` names, for one process. Raises ValueError as `device_list`, or if it is several."""
    names = device_list(text)
    if len(names) > 1:
        raise ValueError(f"device '{text}' names {len(names)} devices; this takes one.")
    return names[0]


def make_current(device: str) -> None:
    """Makes a GPU with a number the one that libraries take where they are told of none."""
    chosen = torch.device(device)
    if chosen.type == "cuda" and chosen.index is not None:
        torch.cuda.set_device(chosen)


def _all_gpus(text: str) -> list[str]:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise ValueError(f"device '{text}': there is no CUDA device here.")
    return [f"cuda:{number}" for number in range(count)]


def _checked(name: str, text: str) -> str:
    if not name:
        raise ValueError(f"device '{text}' has an empty name; {_EXPECTED}.")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device '{name}' is unknown; {_EXPECTED}.") from None
    if device.type not in KINDS:
        raise ValueError(f"device '{name}' is unknown; {_EXPECTED}.")
    if device.type == "cpu":
        return "cpu"
    module = torch.get_device_module(device.type)
    count = module.device_count() if module.is_available() else 0
    if (device.index or 0) >= count:
        held = "is none of that kind" if count == 0 else f"are {count}, from {device.type}:0"
        raise ValueError(f"device '{name}' is not here: there {held}.")
    return name
