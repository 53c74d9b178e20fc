"""Winograd convolution: 1-D Convs with three taps as fewer multiplications, in the layout [frames, channels]."""

from .rewrite import rewrite

__all__ = ["rewrite"]
