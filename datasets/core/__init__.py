"""What all domains share: reading, sampling, manifests, transforms and caching."""
