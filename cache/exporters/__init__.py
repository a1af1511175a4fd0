"""Exporters: a cache in other forms."""
