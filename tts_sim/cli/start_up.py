"""Reading compiled kernels without what they do not use."""

from __future__ import annotations

import sys


def prepare_kernels() -> None:
    """Makes numba ready to run compiled kernels, without SciPy's linear algebra.

    numba looks for BLAS by importing scipy.linalg: a fifth of a second that no kernel needs. Only for the command's
    own process: numba code that multiplies matrices would miss it.
    """
    if "scipy.linalg" in sys.modules:
        return
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
    try:
        from numba.core.registry import cpu_target

        cpu_target.target_context.refresh()
    finally:
        del sys.modules["scipy.linalg"]
