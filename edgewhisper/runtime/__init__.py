"""Artifact -> text: audio, features, sessions, KV cache, decoding, long form."""
