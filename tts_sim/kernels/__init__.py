"""Compiled loops over arrays. They import NumPy, numba, `arrays` and each other: no files, no strategies."""
