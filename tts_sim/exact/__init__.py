"""Closed forms: expected values over all subsets of the samples, without chance."""
