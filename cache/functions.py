"""Functions that a user names by import path, `package.module:function`."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_function_path(name: str) -> bool:
    """Whether the name reads `package.module:function`."""
    return _PATH.fullmatch(name) is not None


def load_function(path: str, role: str) -> Callable[..., Any]:
    """The function at `package.module:function`; modules in the working directory are found too.

    Raises ValueError that names `role` and path if it cannot be imported or called.
    """
    module, _, name = path.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may fail in any way
        raise ValueError(f"{role} '{path}' cannot be imported ({type(error).__name__}: {error}).") from error
    if not callable(function):
        raise ValueError(f"{role} '{path}' is not a function.")
    return function  # type: ignore[no-any-return]
