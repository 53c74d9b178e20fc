"""Download a checkpoint from the Hugging Face hub into its cache."""

from pathlib import Path

from edgewhisper.errors import CheckpointError, MissingDependencyError

from .transformers_folder import WEIGHTS, WEIGHTS_INDEX

_SETTINGS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)
_SHARDS = "model-*.safetensors"


def download(hub_id: str, revision: str | None = None) -> Path:
    """Bring a repository's checkpoint into the local cache; shows progress, downloads only what is read.

    Offline, what the cache holds is used.

    Args:
        hub_id: for instance "openai/whisper-tiny.en".
        revision: branch, tag or commit; the default branch if None.

    Returns:
        the folder in the cache.

    Raises:
        CheckpointError: no such repository or revision, no permission, or offline and not in the cache.
        MissingDependencyError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError:
        raise MissingDependencyError(
            f"{hub_id}: downloading needs huggingface_hub; install it with: pip install 'edgewhisper[build]'"
        ) from None
    try:
        info = HfApi().model_info(hub_id, revision=revision)
        files = _wanted({file.rfilename for file in info.siblings or ()}, hub_id)
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=files))
    except GatedRepoError:
        raise CheckpointError(
            f"{hub_id}: the hub gives it to permitted users only; run 'hf auth login'"
        ) from None
    except RevisionNotFoundError:
        raise CheckpointError(f"{hub_id}: the hub has no revision '{revision}'") from None
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"{hub_id}: no such model on the hub; 'edgewhisper models' lists the names"
        ) from None
    except HFValidationError:
        raise CheckpointError(f"{hub_id}: not a hub id; write ORGANISATION/MODEL") from None
    except OSError as error:  # no connection, offline mode, a server that fails, a full disk
        reason = error.strerror or type(error).__name__
    try:
        return Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise CheckpointError(
            f"{hub_id}: cannot be downloaded and is not in the cache; connect to the network or give a local folder ({reason})"
        ) from None


def _wanted(files: set[str], hub_id: str) -> list[str]:
    # Some repositories hold the same weights twice, whole and in shards, as float16 and as float32.
    if WEIGHTS in files:
        return [*_SETTINGS, WEIGHTS]
    if WEIGHTS_INDEX in files:
        return [*_SETTINGS, WEIGHTS_INDEX, _SHARDS]
    raise CheckpointError(
        f"{hub_id}: the repository has no {WEIGHTS}; download it and convert it with transformers"
    )
