"""Corpora of recordings and transcripts, in the layouts that people have them in."""
