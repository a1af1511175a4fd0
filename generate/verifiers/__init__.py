"""Verifiers: what scores the steps of a solution, behind the protocol of `generate.protocols`."""
