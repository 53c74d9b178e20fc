"""Checkpoints of a real shape and vocabulary with random weights: for parity, speed and memory, which do not depend on
the values.

With a number of tokens the weights make end-of-text win at exactly one position, whatever the audio, so that every
engine stops by itself. One hidden dimension, the last, is kept for that. Decoder layers neither read nor write it; it
is zero in the embedding of every token; the position embedding sets it from the stopping position on; and in the output
head only the row of end-of-text looks at it.
"""

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import ModelDimensions, TokenIds
from edgewhisper.atomic import atomic_folder
from edgewhisper.errors import OutputError, UsageError

from .cards import find_card
from .checkpoint import Vocabulary, expected_shapes
from .generation import ENGLISH_ONLY_VOCABULARY, find_token_ids, with_original_rules
from .json_file import read_json_object
from .safetensors_file import write_safetensors
from .transformers_files import write_settings, write_tokenizer
from .transformers_folder import RANDOM_WEIGHTS_KEY, WEIGHTS
from .whisper_vocabulary import whisper_vocabulary

_EMBEDDING_STD = 0.02
_POSITION_STD = 0.5  # large enough beside attention that the text changes from position to position
_BIAS_STD = 0.02
_NORM_SPREAD = 0.1  # around 1 and 0, so that a swapped or forgotten layer norm shows
_ATTENTION_GAIN = math.sqrt(
    2
)  # of queries and keys: scores of standard deviation 2, neither uniform nor one-hot
_LOGIT_STD = (
    7.0  # as sure as a trained model: the average log-probability stays above the fallback threshold, -1
)

# End-of-text has about the logit `_NEVER` before the stopping position and `_ALWAYS` from there on, were the standard
# deviation of the residual stream 1 (it is up to 1.5). The best of the other logits is near 4.3 * `_LOGIT_STD` = 30.
_NEVER, _ALWAYS = -6.0, 75.0
_STOP_SIGNAL = 10.0  # in the position embedding

_MULTILINGUAL_PROMPT = 4  # start, language, task, no timestamps
_ENGLISH_PROMPT = 2  # start, no timestamps


def write_random_checkpoint(name: str, folder: Path, *, seed: int = 0, tokens: int | None = None) -> None:
    """Write a transformers folder with random float32 weights, marked as such in config.json.

    Args:
        name: of a model card, e.g. "base.en".
        folder: written whole or not at all; replaced if it is empty or holds random weights.
        seed: the same seed gives the same bytes.
        tokens: greedy decoding after the standard prompt without timestamps (start, language, task; start alone for
            English-only models) gives this many text tokens, then end-of-text. None: it goes on for ever.

    Raises:
        CheckpointError: there is no such model.
        UsageError: the bundled model, which has no published vocabulary, or `tokens` beyond the decoder's positions.
        MissingDependencyError: openai-whisper, which has the vocabulary, is not installed.
        OutputError: the folder holds something else or cannot be written.
    """
    card = find_card(name)
    if card.hub_id is None:
        raise UsageError(
            f"'{card.name}' is bundled; random weights have the shape of a published model, e.g. tiny.en"
        )
    dimensions = card.dimensions
    vocabulary = whisper_vocabulary(dimensions.vocab_size)
    multilingual = dimensions.vocab_size != ENGLISH_ONLY_VOCABULARY
    ids = find_token_ids(vocabulary.tokens, multilingual=multilingual, source=name)
    try:
        _check_replaceable(folder)
        write_random_folder(folder, dimensions, vocabulary, ids, seed=seed, tokens=tokens)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None


def write_random_folder(
    folder: Path,
    dimensions: ModelDimensions,
    vocabulary: Vocabulary,
    ids: TokenIds,
    *,
    seed: int = 0,
    tokens: int | None = None,
) -> None:
    """The same for any shape and vocabulary.

    Raises:
        UsageError: `tokens` does not fit into the decoder's positions.
    """
    prompt = _MULTILINGUAL_PROMPT if ids.is_multilingual else _ENGLISH_PROMPT
    longest = dimensions.max_target_positions - prompt - 1
    if tokens is not None and not 1 <= tokens <= longest:
        raise UsageError(f"--tokens {tokens}: this model can stop after 1 to {longest} tokens")
    stop_position = None if tokens is None else prompt - 1 + tokens
    weights = _RandomWeights(dimensions, ids, seed, stop_position)
    shapes = {f"model.{name}": shape for name, shape in expected_shapes(dimensions).items()}
    with atomic_folder(folder) as temporary:
        write_settings(
            temporary, dimensions, with_original_rules(ids, vocabulary.tokens), random_weights=True
        )
        write_tokenizer(temporary, vocabulary, ids)
        write_safetensors(
            temporary / WEIGHTS, shapes, lambda name: weights.tensor(name.removeprefix("model."))
        )


def _check_replaceable(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    config = folder / "config.json"
    if not config.is_file() or read_json_object(config).get(RANDOM_WEIGHTS_KEY) is not True:
        raise OutputError(f"{folder}: exists and holds no random weights; choose another folder")


@dataclass(frozen=True)
class _RandomWeights:
    dimensions: ModelDimensions
    ids: TokenIds
    seed: int
    stop_position: int | None  # the first decoder position after which end-of-text follows

    def tensor(self, name: str) -> NDArray[np.float32]:
        """The values of one tensor: they depend on its name and the seed, not on the order of writing."""
        shape = expected_shapes(self.dimensions)[name]
        if name == "encoder.embed_positions.weight":
            return _sinusoids(*shape)
        random = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        values = random.standard_normal(shape, dtype=np.float32)
        values *= np.float32(self._std(name, shape))
        if name.endswith("layer_norm.weight"):
            values += np.float32(1)
        if name == "decoder.layer_norm.weight":
            values *= np.float32(self._logit_gain)
        if self.stop_position is not None and name.startswith("decoder."):
            self._arrange_stop(name, values, self.stop_position)
        return values

    def _std(self, name: str, shape: tuple[int, ...]) -> float:
        """Linear layers keep the variance of their input; what they add to the residual stream is divided among them."""
        if "layer_norm" in name:
            return _NORM_SPREAD
        if "embed" in name:
            return _POSITION_STD if "positions" in name else _EMBEDDING_STD
        if name.endswith(".bias"):
            return _BIAS_STD
        std = 1 / math.sqrt(math.prod(shape[1:]))
        if "q_proj" in name or "k_proj" in name:
            return std * _ATTENTION_GAIN
        if "out_proj" in name or "fc2" in name:
            side = (
                self.dimensions.encoder_layers
                if name.startswith("encoder")
                else self.dimensions.decoder_layers
            )
            return std / math.sqrt(side)
        return std

    @property
    def _logit_gain(self) -> float:
        """The final layer norm's weight that gives logits the standard deviation `_LOGIT_STD`."""
        return _LOGIT_STD / (_EMBEDDING_STD * math.sqrt(self.dimensions.d_model))

    def _arrange_stop(self, name: str, values: NDArray[np.float32], stop_position: int) -> None:
        """Let end-of-text win from `stop_position` on, through the last hidden dimension; see the module."""
        ids = self.ids
        head_weight = (_ALWAYS - _NEVER) / (self._logit_gain * _STOP_SIGNAL)
        if name == "decoder.embed_tokens.weight":
            values[ids.end_of_text :] = 0  # special tokens and timestamps have the logit 0 and never win
            values[:, -1] = 0
            values[ids.end_of_text, -1] = head_weight
        elif name == "decoder.embed_positions.weight":
            values[:, -1] = 0
            values[stop_position:, -1] = _STOP_SIGNAL
        elif name == "decoder.layer_norm.weight":
            values[-1] = self._logit_gain
        elif name == "decoder.layer_norm.bias":
            values[-1] = _NEVER / head_weight
        elif "out_proj" in name or "fc2" in name or "layer_norm" in name:
            values[-1] = 0


def _sinusoids(length: int, channels: int) -> NDArray[np.float32]:
    """Whisper's encoder positions: sines, then cosines, of wavelengths from 2 pi to 10,000 times 2 pi."""
    frequencies = np.exp(-np.log(10_000) / (channels // 2 - 1) * np.arange(channels // 2))
    angles = np.arange(length)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
