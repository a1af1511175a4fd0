"""Sections of the full report, one analysis a file: each takes the Material of a cache, or raises NotShown."""
