"""What a build is asked for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edgewhisper.errors import UsageError
from edgewhisper.runtime.processor import TARGETS, Target, host_target

Precision = Literal["fp32", "fp16", "int8", "int8-dynamic", "int8-weight", "int4"]
Ops = Literal["fused", "portable"]
Winograd = Literal["auto", "off", "slices", "F2", "F4", "F6"]
Gate = Literal["layers", "text", "off"]
SelfKV = Literal["fp32", "int8"]
OnLoss = Literal["fail", "fallback"]
CalibrationMethod = Literal["minmax", "percentile", "entropy"]
WeightMethod = Literal["round-to-nearest", "k-quant"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CALIBRATION_METHOD: CalibrationMethod = "minmax"
BLOCK_SIZE = 32
WEIGHT_METHOD: WeightMethod = "k-quant"
# What the next safer precision of a graph is, where one costs too much accuracy.
SAFER: dict[Precision, Precision] = {
    "int4": "int8-weight",
    "int8-weight": "fp32",
    "int8": "int8-weight",  # not dynamic INT8, whose logits depend on how many tokens a step takes
    "int8-dynamic": "fp32",
    "fp16": "fp32",
}
# The number formats of these fit one kind of processor.
_TARGETED = ("int8", "int8-dynamic")


@dataclass(frozen=True)
class BuildOptions:
    """How a checkpoint becomes an artifact.

    Attributes:
        precision: of both graphs; None: fp32, or with `max_ram` what fits. "int8" is dynamic INT8 for the encoder and static
            INT8 for the decoder.
        encoder_precision: None: what `precision` says.
        decoder_precision: None: what `precision` says.
        target: the processor to build for; None: this machine's.
        ops: "portable" graphs hold plain ONNX operators only, for providers without ONNX Runtime's own.
        winograd: how the encoder's convolutions are computed.
        winograd_table: what "auto" reads, as `edgewhisper winograd --tune` writes it; None: the package's table.
        calibration: a folder of recordings; None: the bundled ones.
        calibration_method: how the range of a static INT8 activation follows from what was observed; None: "minmax".
        block_size: weights that share a scale, of "int8-weight" and "int4"; None: 32.
        weight_method: how the weights of "int8-weight" and "int4" are rounded; None: "k-quant".
        gate: what is compared with fp32 before the artifact is accepted: layers, layers and text, or nothing.
        evaluation: a corpus with transcripts (see `bench.corpora.open`), for the gate's text; None: the bundled ones.
        on_loss: what happens when the gate refuses: fail, or take the next safer precision.
        prune_vocabulary: keep the tokens that can occur; see `quant.pruning`. None: all.
        prune_heads: share of the attention heads to remove.
        prune_feed_forward: share of the feed-forward units to remove.
        self_kv: of the self-attention cache on a processor; "int8" needs ONNX Runtime 1.31 on the device. None: fp32.
        max_ram: bytes of memory that a transcription may take; None: no limit.
        draft: what proposes tokens, see `draft_choice`; None: nothing does.
    """

    precision: Precision | None = None
    encoder_precision: Precision | None = None
    decoder_precision: Precision | None = None
    target: Target | None = None
    ops: Ops = "fused"
    winograd: Winograd = "auto"
    winograd_table: Path | None = None
    calibration: Path | None = None
    calibration_method: CalibrationMethod | None = None
    block_size: int | None = None
    weight_method: WeightMethod | None = None
    gate: Gate = "layers"
    evaluation: str | Path | None = None
    on_loss: OnLoss = "fail"
    prune_vocabulary: str | None = None
    prune_heads: float = 0.0
    prune_feed_forward: float = 0.0
    self_kv: SelfKV | None = None
    max_ram: int | None = None
    draft: str | None = None

    @property
    def chooses_precision(self) -> bool:
        """Whether a limit of memory may choose the precision, as none was asked for."""
        asked = (self.precision, self.encoder_precision, self.decoder_precision)
        return self.max_ram is not None and asked == (None, None, None)

    @property
    def prunes(self) -> bool:
        """Whether something is to be removed of the checkpoint."""
        return self.prune_vocabulary is not None or self.prunes_structure

    @property
    def prunes_structure(self) -> bool:
        """Whether heads or feed-forward units are to be removed."""
        return self.prune_heads > 0 or self.prune_feed_forward > 0


@dataclass(frozen=True)
class Plan:
    """Options without defaults left open.

    Attributes:
        encoder, decoder: the graphs' precisions; the encoder's is never "int8".
        target: the processor.
    """

    encoder: Precision
    decoder: Precision
    target: Target

    @property
    def targeted(self) -> bool:
        """Whether the graphs suit only processors of the target."""
        return (
            self.target == "cuda"
            or self.has_int8_cross_kv
            or self.encoder in _TARGETED
            or self.decoder in _TARGETED
        )

    @property
    def has_int8_cross_kv(self) -> bool:
        """Whether the encoder writes its keys and values in INT8: they are as large as a small model's decoder."""
        return self.decoder in ("int8", "int4") and self.target != "cuda"

    @property
    def has_scales(self) -> bool:
        """Whether scales are fixed when the graphs are built, from what the fp32 graphs compute."""
        return self.decoder == "int8" or self.has_int8_cross_kv

    @property
    def is_converted(self) -> bool:
        """Whether a graph is not fp32."""
        return (self.encoder, self.decoder) != ("fp32", "fp32")


def needs_statistics(plan: Plan, options: BuildOptions) -> bool:
    """Whether passes need to know what values the fp32 graphs compute."""
    return plan.has_scales or has_int8_self_kv(plan, options)


def has_int8_self_kv(plan: Plan, options: BuildOptions) -> bool:
    """Whether decoders keep their self-attention cache in INT8; one that fell back to fp32 does not."""
    return options.self_kv == "int8" and plan.decoder not in ("fp32", "fp16")


# Products over a whole window are faster in INT8 than with INT4 weights, and take no more memory.
_ENCODERS: Mapping[Precision, Precision] = {"int4": "int8-dynamic"}


def make_plan(options: BuildOptions) -> Plan:
    """Check the options and fill in the defaults.

    Raises:
        UsageError: an unknown name, a number out of range, or options that exclude each other; one line says which.
    """
    precision = options.precision or "fp32"
    _check_name("precision", precision, PRECISIONS)
    _check_name("encoder precision", options.encoder_precision or precision, PRECISIONS)
    _check_name("decoder precision", options.decoder_precision or precision, PRECISIONS)
    _check_name("target", options.target or host_target(), TARGETS)
    _check_name("ops", options.ops, get_args(Ops))
    _check_name("winograd", options.winograd, get_args(Winograd))
    _check_name(
        "calibration method", options.calibration_method or CALIBRATION_METHOD, get_args(CalibrationMethod)
    )
    _check_name("weight method", options.weight_method or WEIGHT_METHOD, get_args(WeightMethod))
    _check_name("self-kv", options.self_kv or "fp32", get_args(SelfKV))
    _check_name("gate", options.gate, get_args(Gate))
    _check_name("on-loss", options.on_loss, get_args(OnLoss))
    if options.block_size is not None and options.block_size not in BLOCK_SIZES:
        raise UsageError(f"block size {options.block_size}: choose one of {_listed(BLOCK_SIZES)}")
    for name, ratio in (
        ("prune-heads", options.prune_heads),
        ("prune-feed-forward", options.prune_feed_forward),
    ):
        if not (math.isfinite(ratio) and 0 <= ratio < 1):
            raise UsageError(f"{name} {ratio}: must be a share from 0 to less than 1, such as 0.25")
    encoder = options.encoder_precision or _ENCODERS.get(precision, precision)
    plan = Plan(
        encoder="int8-dynamic" if encoder == "int8" else encoder,
        decoder=options.decoder_precision or precision,
        target=options.target or host_target(),
    )
    _check_together(options, plan)
    if not options.chooses_precision:  # else once it is chosen
        check_used(options, plan)
    return plan


# Those with which ONNX Runtime computes a row whatever other rows there are; see `quant.weight_only`.
BLOCK_SIZES = (16, 32, 64)
EXACT_BLOCK_SIZES: Mapping[str, tuple[int, ...]] = {"int4": (16, 32), "int8-weight": (16, 32, 64)}


def _check_together(options: BuildOptions, plan: Plan) -> None:
    precisions = (plan.encoder, plan.decoder)
    if "fp16" in precisions and precisions != ("fp16", "fp16"):
        raise UsageError(
            f"encoder {plan.encoder} with decoder {plan.decoder}: fp16 is for both graphs, as they exchange keys and values; "
            "take --precision fp16, or another one"
        )
    if plan.target == "cuda" and options.ops == "fused" and precisions != ("fp16", "fp16"):
        raise UsageError(
            f"target 'cuda' with encoder {plan.encoder} and decoder {plan.decoder}: attention over a cache is half precision "
            "there; take --precision fp16, or --ops portable for fp32"
        )
    if options.ops == "portable" and precisions != ("fp32", "fp32"):
        raise UsageError(
            "--ops portable is for fp32 graphs, as quantized ones need operators of ONNX Runtime; leave --precision out"
        )
    if options.ops == "portable" and options.winograd not in ("auto", "off"):
        raise UsageError(
            "--winograd with --ops portable: rewritten convolutions use operators of ONNX Runtime; leave one of them out"
        )
    if options.draft is not None and (options.ops == "portable" or options.prunes):
        raise UsageError(
            "--draft is for whole models with fused operators; leave pruning, --ops portable or --draft out"
        )
    if plan.target == "cuda" and options.winograd not in ("auto", "off"):
        raise UsageError(
            f"--winograd {options.winograd} with target 'cuda': a GPU's convolutions are left to its provider; leave --winograd out"
        )
    if options.evaluation is not None and options.gate != "text":
        raise UsageError("--evaluation is for the gate of the text; add --gate text, or leave it out")
    if options.on_loss == "fallback" and options.gate == "off":
        raise UsageError("--on-loss fallback with --gate off: nothing is compared; leave one of them out")


def check_used(options: BuildOptions, plan: Plan) -> None:
    """Refuse an option that would change nothing: whoever gave it expects something else.

    Raises:
        UsageError: an option that no part of the plan reads; one line says which.
    """
    precisions = {plan.encoder, plan.decoder}
    if options.calibration is not None and not (
        needs_statistics(plan, options)
        or (plan.is_converted and options.gate != "off")
        or options.prunes_structure
    ):
        raise UsageError(
            "--calibration: nothing needs recordings in this build; take it with --precision int8 or int4, or leave it out"
        )
    if (
        not plan.is_converted
        and not options.prunes
        and (options.gate == "text" or options.on_loss == "fallback")
    ):
        given = "--gate text" if options.gate == "text" else "--on-loss fallback"
        raise UsageError(
            f"{given}: fp32 graphs of a whole model lose nothing; give a --precision, or leave it out"
        )
    if options.self_kv == "int8" and plan.decoder in ("fp32", "fp16"):
        raise UsageError(
            f"--self-kv int8 is for quantized decoders, not for {plan.decoder}; take --precision int8, or leave it out"
        )
    if options.calibration_method is not None and plan.decoder != "int8":
        raise UsageError(
            f"--calibration-method is for a decoder in static INT8, not in {plan.decoder}; take --precision int8, or leave it out"
        )
    for name, value in (("block-size", options.block_size), ("weight-method", options.weight_method)):
        if value is not None and not precisions & {"int8-weight", "int4"}:
            raise UsageError(
                f"--{name} is for precisions int8-weight and int4; take one of them, or leave it out"
            )
    for precision in sorted(precisions & EXACT_BLOCK_SIZES.keys()):
        if options.block_size is not None and options.block_size not in EXACT_BLOCK_SIZES[precision]:
            raise UsageError(
                f"block size {options.block_size}: not with {precision}; "
                f"choose one of {_listed(EXACT_BLOCK_SIZES[precision])}"
            )
    if options.winograd_table is not None and (
        options.winograd != "auto" or options.ops == "portable" or plan.target == "cuda"
    ):
        raise UsageError(
            "--winograd-table is what --winograd auto reads, for processors and fused operators; leave it out"
        )


def safer(plan: Plan, graph: str) -> Plan | None:
    """The plan with `graph` ("encoder" or "decoder") one precision safer; None where there is none, as for GPUs."""
    current = plan.encoder if graph == "encoder" else plan.decoder
    if current not in SAFER or plan.target == "cuda":
        return None
    precision = SAFER[current]
    if current == "fp16":
        return Plan("fp32", "fp32", plan.target)
    if graph == "encoder":
        return Plan(precision, plan.decoder, plan.target)
    return Plan(plan.encoder, precision, plan.target)


def recorded_options(options: BuildOptions, plan: Plan) -> dict[str, str]:
    """The options as the manifest states them: what decides the artifact's bytes, and no path of this machine."""
    recorded: dict[str, str] = {
        "precision": options.precision or "fp32",
        "encoder_precision": plan.encoder,
        "decoder_precision": plan.decoder,
        "ops": options.ops,
        "target": plan.target,
        "winograd": options.winograd,
    }
    precisions = {plan.encoder, plan.decoder}
    if options.winograd_table is not None:
        recorded["winograd_table"] = "own table"
    if has_int8_self_kv(plan, options):
        recorded["self_kv"] = "int8"
    if needs_statistics(plan, options) or options.prunes_structure:
        recorded["calibration"] = "bundled recordings" if options.calibration is None else "own recordings"
    if plan.decoder == "int8":
        recorded["calibration_method"] = options.calibration_method or CALIBRATION_METHOD
    if precisions & {"int8-weight", "int4"}:
        recorded["block_size"] = str(options.block_size or BLOCK_SIZE)
        recorded["weight_method"] = options.weight_method or WEIGHT_METHOD
    if options.prune_vocabulary is not None:
        recorded["prune_vocabulary"] = options.prune_vocabulary
    for name, ratio in (
        ("prune_heads", options.prune_heads),
        ("prune_feed_forward", options.prune_feed_forward),
    ):
        if ratio:
            recorded[name] = f"{ratio:g}"
    if options.draft is not None:
        recorded["draft"] = options.draft
    if options.max_ram is not None:
        recorded["max_ram"] = str(options.max_ram)
    return recorded


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UsageError(f"unknown {what} '{name}'; known are {', '.join(known)}")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
