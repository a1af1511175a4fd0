"""Samplers: what continues a prefix, behind the protocol of `generate.protocols`."""
