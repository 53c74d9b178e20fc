"""Training: the demo model."""
