"""Fills a cache: samplers, verifiers, the recorder with its plans, and the lab. The only place that imports torch."""
