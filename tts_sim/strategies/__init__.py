"""Searches: how candidate answers are found. Each file holds the parameters of one and the call of its kernel."""
