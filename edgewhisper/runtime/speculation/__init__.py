"""Speculative decoding: a draft proposes tokens, the decoder verifies several in one step, the text stays that of single steps.

Leviathan et al., Fast Inference from Transformers via Speculative Decoding, arXiv 2211.17192.
"""
