"""The reference of a build: the checkpoint's tensors in transformers' Whisper, on PyTorch."""

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.errors import MissingDependencyError
from edgewhisper.models.checkpoint import Checkpoint

Floats = NDArray[np.float32]


def missing_packages() -> list[str]:
    """What a parity check needs and is not installed; imports nothing."""
    packages = ("onnxruntime", "torch", "transformers")
    return [package for package in packages if importlib.util.find_spec(package) is None]


class Reference:
    """`WhisperForConditionalGeneration` over a checkpoint, whatever file the checkpoint came from.

    float32 tensors are shared with the checkpoint (mapped from its file, where it is mapped), others are converted.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Build the model.

        Raises:
            MissingDependencyError: PyTorch or transformers is installed but does not load.
        """
        try:
            import torch
            import transformers
        except (ImportError, OSError) as error:
            raise MissingDependencyError(
                f"PyTorch and transformers do not load here ({error}); repair them or build with --no-parity"
            ) from None

        self.versions = {"torch": str(torch.__version__), "transformers": str(transformers.__version__)}
        dims = checkpoint.dimensions
        end = checkpoint.token_ids.end_of_text
        config = transformers.WhisperConfig(
            num_mel_bins=dims.n_mels,
            d_model=dims.d_model,
            encoder_layers=dims.encoder_layers,
            encoder_attention_heads=dims.encoder_heads,
            encoder_ffn_dim=dims.encoder_ffn,
            decoder_layers=dims.decoder_layers,
            decoder_attention_heads=dims.decoder_heads,
            decoder_ffn_dim=dims.decoder_ffn,
            vocab_size=dims.vocab_size,
            max_source_positions=dims.max_source_positions,
            max_target_positions=dims.max_target_positions,
            pad_token_id=end,
            bos_token_id=end,
            eos_token_id=end,
            decoder_start_token_id=checkpoint.token_ids.start_of_transcript,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
        with torch.device("meta"):  # parameters without memory, until the checkpoint's take their place
            model = transformers.WhisperForConditionalGeneration(config)
            _take_sizes(model.model, checkpoint.tensors)
        tensors = {f"model.{name}": _tensor(array) for name, array in checkpoint.tensors.items()}
        model.load_state_dict(tensors, strict=False, assign=True)
        model.tie_weights()
        missing = [name for name, parameter in model.named_parameters() if parameter.is_meta]
        assert not missing, missing
        self._model = model.eval()

    def cross_kv(self, log_mel: Floats) -> tuple[dict[str, Floats], Any]:
        """What the decoder attends to, and the encoder's states for `logits`.

        Args:
            log_mel: one whole window, [n_mels, frames].

        Returns:
            past_key_cross_i and past_value_cross_i [heads, positions, head_dim] of every decoder layer i: the encoder's
            output projected by that layer; and the encoder's output itself.
        """
        import torch

        with torch.inference_mode():
            states = self._model.model.encoder(torch.from_numpy(log_mel)[None]).last_hidden_state
            projected = {}
            for index, layer in enumerate(self._model.model.decoder.layers):
                attention = layer.encoder_attn
                for name, projection in (("key", attention.k_proj), ("value", attention.v_proj)):
                    heads = projection(states)[0].unflatten(-1, (attention.num_heads, -1)).transpose(0, 1)
                    projected[f"past_{name}_cross_{index}"] = heads.contiguous().numpy()
        return projected, states

    def logits(self, tokens: Sequence[int], states: Any, rows: Sequence[int]) -> Floats:
        """Logits [len(rows), vocab] after the tokens at `rows`, all tokens being decoded at once."""
        import torch

        with torch.inference_mode():
            ids = torch.tensor([list(tokens)])
            hidden = self._model.model.decoder(input_ids=ids, encoder_hidden_states=states, use_cache=False)
            logits: Floats = self._model.proj_out(hidden.last_hidden_state[0, list(rows)]).numpy()
        return logits


def _take_sizes(model: Any, tensors: Mapping[str, NDArray[np.generic]]) -> None:
    """Give a model's layers the sizes of a pruned checkpoint's: heads and feed-forward units differ from layer to layer."""
    import torch

    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            rows, columns = tensors[f"{name}.weight"].shape
            parent, _, child = name.rpartition(".")
            linear = torch.nn.Linear(columns, rows, bias=module.bias is not None)
            setattr(model.get_submodule(parent), child, linear)
        elif hasattr(module, "num_heads"):
            module.num_heads = tensors[f"{name}.q_proj.weight"].shape[0] // module.head_dim


def _tensor(array: NDArray[np.generic]) -> Any:
    import torch

    with warnings.catch_warnings():
        # PyTorch warns that writing into a read-only mapping is undefined; inference writes into no parameter.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array)).to(torch.float32)
