"""Runs as a benchmark writes them: two models, a dozen variants with long names, failures, everything that can be measured."""

from edgewhisper.bench.run import (
    Accuracy,
    Clip,
    Gain,
    Machine,
    Model,
    Run,
    Spread,
    Stage,
    Variant,
    WinogradError,
)

SERVER = Machine(
    "AMD EPYC 9R14 96-Core Processor",
    "x86_64",
    cores=2,
    memory=8_200_000_000,
    system="Linux 6.1, glibc 2.36",
    python="3.11.2",
    features=("avx2", "avx512f", "avx512_vnni"),
)
BOARD = Machine(
    "Cortex-A76",
    "aarch64",
    cores=4,
    memory=8_000_000_000,
    system="Linux 6.6, glibc 2.36",
    python="3.11.2",
    features=("asimddp",),
    board="Raspberry Pi 5 Model B Rev 1.0",
)
# Name, engine, precision, options, share of the baseline's time, share of its memory, word error rate.
_FORMS: tuple[tuple[str, str, str, dict[str, str], float, float, float], ...] = (
    ("edgewhisper fp32", "edgewhisper", "fp32", {}, 1.0, 1.0, 0.0423),
    ("edgewhisper int8", "edgewhisper", "int8", {}, 0.52, 0.47, 0.0431),
    ("edgewhisper int8 low memory", "edgewhisper", "int8", {"memory": "low"}, 0.60, 0.41, 0.0431),
    (
        "edgewhisper int8 heads",
        "edgewhisper",
        "int8",
        {"draft": "heads", "acceptance": "0.75"},
        0.33,
        0.53,
        0.0431,
    ),
    ("edgewhisper int4", "edgewhisper", "int4", {}, 0.49, 0.44, 0.0467),
    (
        "edgewhisper int8 with pruned vocabulary and phrases of one's own, Winograd F(4,3)",
        "edgewhisper",
        "int8",
        {"vocabulary": "german", "winograd": "F4", "phrases": "commands.txt"},
        0.46,
        0.38,
        0.0440,
    ),
    ("faster-whisper float32", "faster-whisper", "float32", {"beam size": "1"}, 1.25, 1.15, 0.0423),
    ("faster-whisper int8", "faster-whisper", "int8", {"beam size": "1"}, 1.43, 0.65, 0.0429),
    ("whisper.cpp q8_0", "whisper.cpp", "q8_0", {}, 1.02, 0.52, 0.0425),
    ("whisper.cpp q5_1", "whisper.cpp", "q5_1", {}, 1.18, 0.46, 0.0436),
    ("transformers float32", "transformers", "float32", {"attention": "sdpa"}, 2.75, 1.83, 0.0423),
)
_FAILURES = (
    ("optimum-onnx", "the process ended by signal 9 (not enough memory?)"),
    (
        "faster-whisper float16",
        "ValueError: Requested float16 compute type, but the target device does not support it",
    ),
)
_VERSIONS = {
    "edgewhisper": {"edgewhisper": "0.9.0", "onnxruntime": "1.32.0"},
    "faster-whisper": {"faster-whisper": "1.2.1", "ctranslate2": "4.8.5"},
    "whisper.cpp": {"pywhispercpp": "1.3.3"},
    "transformers": {"transformers": "4.57.6", "torch": "2.13.0"},
}


def around(value: float, disturbed: int = 0) -> Spread:
    """Three measurements close to `value`."""
    return Spread.of((0.97 * value, value, 1.04 * value), disturbed)


def sample_variants(window: float, memory: float, *, accurate: bool) -> tuple[Variant, ...]:
    """Of one model whose first variant takes so many milliseconds for a window and so many bytes."""
    measured = []
    for index, (name, engine, precision, options, time, size, wer) in enumerate(_FORMS):
        encoder, token = 0.22 * window * time, 0.0045 * window * time
        delta = None if index == 0 else (wer - _FORMS[0][-1], wer - 0.0448, wer - 0.0402)
        measured.append(
            Variant(
                name,
                engine,
                precision,
                options,
                versions=_VERSIONS[engine],
                load=around(0.11 + size),
                first_token_ms=around(encoder + 3 * token),
                encoder_ms=around(encoder, disturbed=2 if name == "faster-whisper int8" else 0),
                token_ms=around(token),
                step_ms={str(count): around(token * (0.92 + 0.08 * count)) for count in (1, 2, 4, 8, 16)},
                window_ms=around(window * time),
                clips=tuple(
                    Clip(seconds, p50 := time * window * (0.25 + 0.03 * seconds) / 1e3, p50 * 1.12, 5)
                    for seconds in (1.0, 5.0, 10.0, 30.0, 60.0, 300.0)
                ),
                peak=round(memory * size),
                steady=round(memory * size * 0.86),
                cpu=1.9 - index / 50,
                joules=11.4 * time if engine == "edgewhisper" else None,
                disk=round(memory * size * 0.7),
                accuracy=Accuracy(
                    "LibriSpeech test-clean", 52_576, wer, wer - 0.0021, wer + 0.0023, wer / 3, delta, 0.98
                )
                if accurate
                else None,
                stages=(
                    Stage("encoder", 82_000_000, 21_000_000_000, encoder / 1e3, 0.04, 0.71 / (1 + index / 4)),
                    Stage(
                        "step of 1 token", 61_000_000, 60_000_000, token / 1e3, 0.83 / (1 + index / 3), 0.02
                    ),
                )
                if engine == "edgewhisper"
                else (),
                memory_over_time=tuple(
                    (tick / 10, round(memory * size * min(1, 0.15 + tick / 12) * (0.86 if tick > 24 else 1)))
                    for tick in range(30)
                )
                if index < 8
                else (),
            )
        )
    failed = [Variant(name, name.split()[0], "float16", failure=failure) for name, failure in _FAILURES]
    return (*measured, *failed)


def sample_run(machine: Machine = SERVER, slower: float = 1.0) -> Run:
    """A run of everything; times are `slower` times as long as those of the server."""
    gains = tuple(
        Gain(rate / 10, 0.72 + 0.0115 * rate**2, 1 + rate / 3.3, imposed=True) for rate in range(0, 11, 2)
    )
    base = Model(
        "base.en",
        False,
        200,
        sample_variants(620 * slower, 415e6, accurate=True),
        (*gains, Gain(0.71, 1.33, 3.1, imposed=False)),
    )
    tiny = Model("tiny.en", True, 200, sample_variants(330 * slower, 260e6, accurate=False))
    winograd = tuple(
        WinogradError(form, c / 10, precision, mean := scale * (1 + (c / 10 - 0.7) ** 2), 40 * mean)
        for form, scale in (("F(4,3)", 3e-7), ("F(4,2)", 2e-7))
        for precision, scale in (("fp32", scale), ("int8", scale * 30_000))
        for c in range(4, 15)
    )
    return Run(
        "2026-03-14T09:26:53+00:00",
        machine,
        (base, tiny),
        versions=_VERSIONS["edgewhisper"],
        command="edgewhisper bench base.en tiny.en --random --peers all --accuracy test-clean -o run.json",
        winograd=winograd,
        temperatures=tuple((30.0 * minute, 48 + 24 * (1 - 0.8**minute)) for minute in range(20)),
        throttled=False,
    )
