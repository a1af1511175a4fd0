"""Beyond the cache: what n > K samples would give, by models that are tested before they are believed."""
