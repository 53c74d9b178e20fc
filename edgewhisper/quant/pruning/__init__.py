"""Checkpoint -> smaller checkpoint: fewer tokens, attention heads and feed-forward units."""
