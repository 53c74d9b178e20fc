"""How much a model computes and reads, from its dimensions."""

from edgewhisper.artifact import ModelDimensions


def attention_macs(dims: ModelDimensions) -> int:
    """Multiply-accumulates of the encoder's attention over one window, which no precision makes less than fp32."""
    return dims.encoder_layers * 2 * dims.max_source_positions**2 * dims.d_model


def stem_macs(dims: ModelDimensions) -> int:
    """Multiply-accumulates of the two convolutions over one window, as the checkpoint has them."""
    positions, width = dims.max_source_positions, dims.d_model
    return 3 * width * (2 * positions * dims.n_mels + positions * width)


def encoder_macs(dims: ModelDimensions) -> int:
    """Multiply-accumulates of one window: convolutions, layers, keys and values of cross-attention."""
    positions, width = dims.max_source_positions, dims.d_model
    layers = dims.encoder_layers * positions * (4 * width**2 + 2 * width * dims.encoder_ffn)
    cross = dims.decoder_layers * 2 * positions * width**2
    return stem_macs(dims) + layers + attention_macs(dims) + cross


def encoder_weights(dims: ModelDimensions) -> int:
    """Weights that encoding a window reads."""
    width = dims.d_model
    layer = 4 * width**2 + 2 * width * dims.encoder_ffn
    return (
        3 * width * (dims.n_mels + width) + dims.encoder_layers * layer + dims.decoder_layers * 2 * width**2
    )


def step_weights(dims: ModelDimensions) -> int:
    """Weights that a decoder step reads, the output head included."""
    width = dims.d_model
    return dims.decoder_layers * (6 * width**2 + 2 * width * dims.decoder_ffn) + dims.vocab_size * width
