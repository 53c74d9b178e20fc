"""Runs on the emulated device: logits of steps of several tokens against those of single steps.

Called with the folders of modules and of the artifact; prints as JSON, for each number of tokens in a step, how many logits
differ, and how many differ after tokens that were rejected.
"""

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import numpy as np

from edgewhisper.artifact import load_manifest
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.exactness import random_cross_kv
from edgewhisper.runtime.session import SessionSettings

COUNTS = (2, 3, 4, 5, 8, 16)
TOKENS = 48


def main() -> None:
    """Print the numbers of differing logits."""
    folder = Path(sys.argv[2])
    manifest, settings = load_manifest(folder), SessionSettings(threads=1)
    source = random.Random(0)
    tokens = [source.randrange(manifest.dimensions.vocab_size) for _ in range(TOKENS)]
    decoder = Decoder(folder, manifest, settings)
    decoder.reset(random_cross_kv(manifest, source))
    single = np.concatenate([decoder.run([token]).copy() for token in tokens])
    differing = {}
    for count in COUNTS:
        decoder.rollback(0)
        steps = [decoder.run(tokens[at : at + count]).copy() for at in range(0, TOKENS, count)]
        differing[f"{count} at once"] = int((np.concatenate(steps) != single).sum())
        decoder.rollback(0)
        rows = []
        for token in tokens[: TOKENS - count]:
            rejected = [source.randrange(manifest.dimensions.vocab_size) for _ in range(count - 1)]
            rows.append(decoder.run([token, *rejected])[0].copy())
            decoder.rollback(len(rows))
        differing[f"{count - 1} rejected"] = int((np.stack(rows) != single[: len(rows)]).sum())
    print(json.dumps(differing))


if __name__ == "__main__":
    main()
