"""Training from a cache's own runs: process verifier, outcome verifier, revision model."""
