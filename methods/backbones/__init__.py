"""Feature extractors in stages, with torchvision's and timm's state-dict keys."""
