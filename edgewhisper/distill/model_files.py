"""The trained model as a folder in transformers' format."""

import shutil
from pathlib import Path

import torch
from transformers import WhisperTokenizerFast

from .architecture import build_model
from .features import feature_extractor
from .tokenizer import load_tokenizer, special_tokens


def write_model(training_state: Path, tokenizer_directory: Path, directory: Path) -> None:
    """Writes weights as fp16, configuration, generation settings, tokenizer and feature extractor.

    `training_state` is a trainer's checkpoint; one from the middle of training will do. `directory` is replaced.
    """
    tokenizer = load_tokenizer(tokenizer_directory)
    model = build_model(len(tokenizer), special_tokens(tokenizer))
    model.load_state_dict(torch.load(training_state, weights_only=True)["model"])
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.half().save_pretrained(partial)
    WhisperTokenizerFast.from_pretrained(tokenizer_directory).save_pretrained(partial)
    feature_extractor().save_pretrained(partial)
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)
