"""The claims of Snell et al. 2024 (arXiv:2408.03314), held one by one against a cache."""
