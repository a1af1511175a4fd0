"""Altair charts: each function takes a curve of Outcomes and returns a chart."""
