"""Trains the demo model: cross-entropy on tokens plus character CTC on the encoder's output.

Every core gets a process of its own with one thread and its share of each batch; gradients are averaged once a step.
On a machine that has other work to do this is several times faster than one process with several threads, which
wait for each other in every operation.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from transformers import WhisperForConditionalGeneration, WhisperTokenizer

from edgewhisper.bench.scoring import error_rate

from .architecture import build_model
from .batches import CTC_CLASSES, IGNORED, Batch, BatchMaker, plan
from .recognition import transcribe
from .recordings import Recording
from .tokenizer import special_tokens
from .windows import Window

_PEAK_RATE = 1.1e-3
_FINAL_RATE_SHARE = 0.02
_WARM_UP_STEPS = 400
_BETAS = (0.9, 0.98)
_WEIGHT_DECAY = 0.05
_LARGEST_GRADIENT = 1.0
_LABEL_SMOOTHING = 0.05
_CTC_SHARE = 0.3
"""Of the loss; the CTC layer helps the encoder to lock on to speech and is thrown away."""

_SEED = 7


@dataclass(frozen=True)
class TrainingOptions:
    steps: int
    log_every: int = 50
    save_every: int = 250
    evaluate_every: int = 500


@dataclass(frozen=True)
class Progress:
    """One line of the training log."""

    step: int
    seconds: float
    """Time spent in training steps since training began, interruptions left out."""

    rate: float
    cross_entropy: float
    ctc: float
    accuracy: float
    """Share of tokens predicted right, given the right ones before."""


@dataclass(frozen=True)
class DevelopmentScore:
    """Error rates during training, on held-out sentences; nothing is chosen by them."""

    step: int
    wer: dict[str, float]
    language_accuracy: float


class Trainer:
    """The model, what optimises it, and how far it has come. All of it survives `kill -9`.

    Runs in each process of torch's default process group; the processes stay identical replicas.
    """

    def __init__(
        self,
        directory: Path,
        windows: Sequence[Window],
        development: Sequence[Recording],
        tokenizer: WhisperTokenizer,
        options: TrainingOptions,
    ) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        torch.manual_seed(_SEED)
        tokens = special_tokens(tokenizer)
        self.model: WhisperForConditionalGeneration = build_model(len(tokenizer), tokens)
        self._ctc = nn.Linear(self.model.config.d_model, CTC_CLASSES)
        self._parameters = [p for p in [*self.model.parameters(), *self._ctc.parameters()] if p.requires_grad]
        self._optimizer = _optimizer(self._parameters)
        self._directory = directory
        self._windows = windows
        self._development = development
        self._tokenizer = tokenizer
        self._batches = BatchMaker(windows, tokenizer, tokens, _SEED)
        self._options = options
        self._rank = dist.get_rank()
        self._processes = dist.get_world_size()
        self._step = 0
        self._seconds = 0.0

    def train(self) -> WhisperForConditionalGeneration:
        """Trains up to the last step, from the last saved one if there is any."""
        options = self._options
        self._directory.mkdir(parents=True, exist_ok=True)
        self._resume()
        steps = islice(plan(self._windows, options.steps, _SEED), self._step, None)
        self.model.train()
        totals = [0.0, 0.0, 0.0]
        for step in steps:
            began = time.monotonic()
            rate = self._set_rate()
            losses = self._update(self._batches.make(step, self._step, self._rank, self._processes))
            self._step += 1
            self._seconds += time.monotonic() - began
            totals = [total + loss for total, loss in zip(totals, losses, strict=True)]
            if self._rank != 0:
                continue
            if self._step % options.log_every == 0:
                means = [total / options.log_every for total in totals]
                self._log(Progress(self._step, round(self._seconds, 1), rate, *means))
                totals = [0.0, 0.0, 0.0]
            if self._step % options.evaluate_every == 0:
                self._log(self._evaluate())
            if self._step % options.save_every == 0 or self._step == options.steps:
                self._save()
        self.model.eval()
        return self.model

    def _set_rate(self) -> float:
        """Linear warm-up, then a cosine over the fixed number of steps."""
        warm_up = min(1.0, (self._step + 1) / _WARM_UP_STEPS)
        cosine = 0.5 * (1 + math.cos(math.pi * self._step / self._options.steps))
        rate = _PEAK_RATE * warm_up * (_FINAL_RATE_SHARE + (1 - _FINAL_RATE_SHARE) * cosine)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _update(self, batch: Batch) -> tuple[float, float, float]:
        """One step; returns cross-entropy, CTC loss and token accuracy."""
        with torch.autocast("cpu", torch.bfloat16):
            hidden = encode(self.model, batch.features)
            decoder = self.model.model.decoder(
                input_ids=batch.inputs, encoder_hidden_states=hidden, use_cache=False
            )
            everywhere = self.model.proj_out(decoder.last_hidden_state)
            characters = self._ctc(hidden).float()
        asked = batch.labels != IGNORED
        logits, labels = everywhere[asked].float(), batch.labels[asked]
        cross_entropy = F.cross_entropy(logits, labels, label_smoothing=_LABEL_SMOOTHING)
        ctc = _ctc_loss(characters, batch)
        self._optimizer.zero_grad(set_to_none=True)
        ((1 - _CTC_SHARE) * cross_entropy + _CTC_SHARE * ctc).backward()  # type: ignore[no-untyped-call]
        self._average_gradients()
        nn.utils.clip_grad_norm_(self._parameters, _LARGEST_GRADIENT)
        self._optimizer.step()
        accuracy = (logits.detach().argmax(-1) == labels).float().mean()
        return float(cross_entropy.detach()), float(ctc.detach()), float(accuracy)

    def _average_gradients(self) -> None:
        """Replaces each gradient by its mean over all processes, in one message."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        flat = nn.utils.parameters_to_vector(gradients)
        dist.all_reduce(flat)
        nn.utils.vector_to_parameters(flat / self._processes, gradients)

    def _evaluate(self) -> DevelopmentScore:
        self.model.eval()
        hypotheses = transcribe(self.model, self._tokenizer, [item.samples for item in self._development])
        self.model.train()
        scored = list(zip(self._development, hypotheses, strict=True))
        wer = {}
        for language in sorted({item.language for item in self._development}):
            own = [(item.text, said.text) for item, said in scored if item.language == language]
            wer[language] = error_rate([text for text, _ in own], [said for _, said in own]).wer
        right = sum(item.language == said.language for item, said in scored)
        return DevelopmentScore(self._step, wer, right / len(scored))

    def _log(self, entry: Progress | DevelopmentScore) -> None:
        line = json.dumps(asdict(entry))
        print(line, flush=True)
        with (self._directory / "log.jsonl").open("a") as stream:
            stream.write(line + "\n")

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "ctc": self._ctc.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "step": self._step,
            "seconds": self._seconds,
        }
        checkpoint = training_state(self._directory)
        partial = checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(checkpoint)

    def _resume(self) -> None:
        dist.barrier()
        checkpoint = training_state(self._directory)
        if not checkpoint.exists():
            return
        state = torch.load(checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._ctc.load_state_dict(state["ctc"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self._step = state["step"]
        self._seconds = state["seconds"]


def training_state(directory: Path) -> Path:
    """The file that holds everything about a training in `directory`."""
    return directory / "training.pt"


def encode(model: WhisperForConditionalGeneration, features: torch.Tensor) -> torch.Tensor:
    """The encoder on any number of frames: (B, mel bins, 2 T) -> (B, T, width).

    transformers' own encoder takes the whole window only; short batches save most of the time.
    """
    encoder = model.model.encoder
    hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(features)))).transpose(1, 2)
    hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
    for layer in encoder.layers:
        hidden = layer(hidden, None, layer_head_mask=None)[0]
    normed: torch.Tensor = encoder.layer_norm(hidden)
    return normed


def _ctc_loss(characters: torch.Tensor, batch: Batch) -> torch.Tensor:
    """CTC per character of reference text; `characters` is (B, T, classes)."""
    lengths = torch.full((characters.shape[0],), characters.shape[1])
    total = F.ctc_loss(
        F.log_softmax(characters, -1).transpose(0, 1),
        batch.characters,
        lengths,
        batch.character_counts,
        reduction="sum",
        zero_infinity=True,
    )
    return total / batch.character_counts.sum().clamp(min=1)


def _optimizer(parameters: Sequence[nn.Parameter]) -> torch.optim.AdamW:
    """AdamW that decays matrices only."""
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": _WEIGHT_DECAY},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ],
        lr=_PEAK_RATE,
        betas=_BETAS,
        foreach=True,
    )
