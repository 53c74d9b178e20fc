"""Runs the trainer in several processes."""

import os
import random
import signal
import tempfile
from pathlib import Path

import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from . import corpus
from .evaluation_set import development_recordings
from .tokenizer import load_tokenizer
from .trainer import Trainer, TrainingOptions
from .windows import windows

_WINDOW_SEED = 3


def train(
    corpus_directory: Path,
    tokenizer_directory: Path,
    directory: Path,
    options: TrainingOptions,
    processes: int,
) -> None:
    """Trains to the end, from the last checkpoint in `directory` if there is one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as meeting_point:
        spawn(  # type: ignore[no-untyped-call]
            _train,
            (
                processes,
                Path(meeting_point, "group"),
                corpus_directory,
                tokenizer_directory,
                directory,
                options,
            ),
            nprocs=processes,
        )


def _train(
    rank: int,
    processes: int,
    meeting_point: Path,
    corpus_directory: Path,
    tokenizer_directory: Path,
    directory: Path,
    options: TrainingOptions,
) -> None:
    # torch sends SIGINT when the parent dies; started in the background by a shell, processes would ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=processes)
    rng = random.Random(_WINDOW_SEED)
    heard = [window for recording in corpus.load(corpus_directory) for window in windows(recording, rng)]
    trainer = Trainer(
        directory, heard, list(development_recordings()), load_tokenizer(tokenizer_directory), options
    )
    trainer.train()
    dist.destroy_process_group()
