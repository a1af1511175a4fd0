"""Loading of a model and its tokenizer from a directory or a Hugging Face id."""

from __future__ import annotations

from typing import Any

import torch

from generate.devices import one_device


def load_pretrained(
    auto_class: Any,
    path: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    attention: str = "auto",
    trust_remote_code: bool = False,
    fresh_head: bool = False,
) -> tuple[Any, Any]:
    """(model in evaluation mode on its device, tokenizer). `device` 'auto' is CUDA where there is one.

    Raises ValueError, with the reason, if the model cannot be loaded, if the device is not here, or if there are
    weights that it does not hold: they would be random. Those of a head may be, with `fresh_head`: for training.
    """
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    where = one_device(device)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, trust_remote_code=trust_remote_code)
        model, loaded = auto_class.from_pretrained(
            path,
            revision=revision,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            attn_implementation=None if attention == "auto" else attention,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    except (OSError, ValueError, AttributeError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"model '{path}' cannot be loaded: {reason} Give a directory or a Hugging Face id.") from error
    absent = sorted({*loaded["missing_keys"], *(key[0] for key in loaded["mismatched_keys"])})
    if fresh_head:
        absent = [name for name in absent if name.startswith(f"{model.base_model_prefix}.")]
    if absent:
        raise ValueError(
            f"model '{path}' has no fitting weights for {absent[0]}{' and others' * (len(absent) > 1)}, which "
            f"{type(model).__name__} needs: it is a model of another kind."
        )
    return model.to(where).eval(), tokenizer


def load_tokenizer(path: str, revision: str | None = None) -> Any:
    """The tokenizer of a model. Raises ValueError, with the reason, if it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, revision=revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"the tokenizer of '{path}' cannot be loaded: {reason} A chat needs it, for its template."
        ) from error
