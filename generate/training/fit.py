"""What the training stages share: settings, the loop, and where a finished model goes."""

from __future__ import annotations

import inspect
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generate.loading import load_pretrained
from generate.recorder import Progress
from generate.training.loop import Example, batches, endless, train_loop
from generate.verifiers.requirements import max_tokens
from tts_sim.draws import checked_seed


@dataclass(frozen=True)
class Fit:
    """How a model is trained: AdamW at `rate` over `epochs`, batches of about `batch_tokens` tokens.

    Examples of more than `max_tokens` tokens are left out and counted. `held_out` is the share of questions that the
    model is judged on and does not learn from. The embeddings and the lowest `frozen_layers` stay as they are, if any.
    """

    epochs: float = 1.0
    rate: float = 1e-5
    batch_tokens: int = 16_384
    max_tokens: int = 4096
    held_out: float = 0.1
    seed: int = 0
    device: str = "auto"
    dtype: str = "float32"
    checkpointing: bool = False
    frozen_layers: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)}: expected a number above 0.")
        for name in ("batch_tokens", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected a whole number from 1.")
        if self.frozen_layers < 0:
            raise ValueError(f"frozen_layers {self.frozen_layers}: expected a whole number from 0.")
        checked_seed(self.seed)


def load_base(auto_class: Any, path: str, fit: Fit, *, fresh_head: bool = False) -> tuple[Any, Any]:
    """The model to start from, in training precision, and its tokenizer. Raises ValueError.

    Its chance (a fresh head, dropout) is seeded. Models must be causal: batches are padded on the right without a mask.
    """
    torch.manual_seed(fit.seed % 2**63)
    model, tokenizer = load_pretrained(auto_class, path, dtype=fit.dtype, device=fit.device, fresh_head=fresh_head)
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        raise ValueError(f"model '{path}' ({type(model).__name__}) is not causal: start from a decoder such as Llama.")
    if tokenizer.eos_token_id is None:
        raise ValueError(f"model '{path}': its tokenizer has no end-of-sequence token, which closes a solution.")
    if fit.frozen_layers:
        _freeze(model, fit.frozen_layers, path)
    if fit.checkpointing:
        model.gradient_checkpointing_enable()
    return model, tokenizer


def _freeze(model: Any, count: int, path: str) -> None:
    layers: Any = getattr(model.base_model, "layers", ())
    if count > len(layers):
        raise ValueError(f"frozen_layers {count}: '{path}' has {len(layers)} that can be frozen.")
    model.get_input_embeddings().requires_grad_(False)
    layers[:count].requires_grad_(False)


def end_token(model: Any, tokenizer: Any) -> int:
    """The token that ends a solution: the tokenizer's own, unless the model's samplers stop at others only."""
    ends = model.generation_config.eos_token_id
    known = [tokenizer.eos_token_id] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    end: int = tokenizer.eos_token_id if tokenizer.eos_token_id in known else known[0]
    return end


def length_limit(model: Any, fit: Fit) -> int:
    """The longest example in tokens: what the model was made for, or the fit's `max_tokens` if that is less."""
    return min(fit.max_tokens, max_tokens(model) or fit.max_tokens)


def short_enough(examples: Sequence[Example], model: Any, fit: Fit) -> tuple[list[Example], int]:
    """The examples that the model can read, and how many were left out. Raises ValueError if none is left."""
    longest = length_limit(model, fit)
    kept = [example for example in examples if len(example.ids) <= longest]
    if not kept:
        raise ValueError(f"all {len(examples)} examples are longer than {longest} tokens. Raise --max-tokens.")
    return kept, len(examples) - len(kept)


def run_fit(
    model: Any,
    examples: Sequence[Example],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    fit: Fit,
    *,
    label: str,
    progress: Progress | None,
) -> dict[str, float]:
    """Trains the model in place; the number of updates and the smoothed loss of the last ones."""
    device = model.device
    seed, cpu = fit.seed % 2**32, torch.device("cpu")
    num_batches = sum(1 for _ in batches(examples, tokens=fit.batch_tokens, seed=seed, device=cpu))
    steps = max(1, round(fit.epochs * num_batches))
    done = 0

    def counted(ids: Tensor, targets: Tensor) -> Tensor:
        nonlocal done
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" and fit.dtype == "float32"):
            loss = loss_of(ids, targets)
        done += 1
        if progress:
            progress(label, done, steps)
        return loss

    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in learned if parameter.ndim > 1]
    plain = [parameter for parameter in learned if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}], lr=fit.rate
    )
    loss = train_loop(
        model,
        endless(examples, tokens=fit.batch_tokens, seed=seed, device=device),
        counted,
        steps=steps,
        optimizers=[optimizer],
        progress=lambda _: None,
        label=label,
    )
    if not math.isfinite(loss):
        raise ValueError(f"training diverged (loss {loss}) at rate {fit.rate}. Lower --rate.")
    return {"updates": steps, "final_training_loss": loss}


@contextmanager
def fresh_directory(out: str | Path) -> Iterator[Path]:
    """A directory that takes its name `out` once the block has ended well. Raises ValueError if `out` is taken."""
    path = Path(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"--out {path} exists already: give a new directory, or remove it first.")
    if not path.parent.is_dir():
        raise ValueError(f"--out {path}: the directory {path.parent} does not exist.")
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield part
        part.chmod(0o755)
        if path.is_dir():
            path.rmdir()
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def save_stage(directory: Path, model: Any, tokenizer: Any, fit: Fit, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes model, tokenizer and report.json; returns the report, NaN as None."""
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    report: dict[str, Any] = _plain({**facts, "parameters": model.num_parameters(), "fit": asdict(fit)})
    (directory / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
