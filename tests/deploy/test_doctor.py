"""`edgewhisper doctor`, from the command to its table, JSON and exit code; and its page."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgewhisper.artifact import parse_json
from edgewhisper.deploy import doctor as package
from edgewhisper.deploy.doctor import examination, measurement
from edgewhisper.deploy.doctor.checks import PROBLEMS
from edgewhisper.deploy.doctor.choice import CANDIDATES
from edgewhisper.deploy.doctor.engine import Engine, try_engine
from edgewhisper.deploy.doctor.examination import examine
from edgewhisper.deploy.doctor.host import Host, this_host
from edgewhisper.deploy.doctor.report import Report
from edgewhisper.deploy.doctor.storage import read_memory
from edgewhisper.deploy.doctor.text import format_report
from edgewhisper.deploy.doctor.trial import Reporter
from tests.conftest import Command
from tests.deploy.crashes import illegal_instruction, needs_illegal_instruction
from tests.deploy.trees import PI_5, PI_ZERO_2, meminfo, raspberry_pi
from tests.small_artifacts import edit, remove

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "doctor.md"
QUICK = measurement.Measurement(
    window=8.0,
    load=0.3,
    features=0.01,
    encode=0.1,
    token=0.001,
    peak=10**8,
    disturbed=0.0,
    threads=1,
    low_memory=False,
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    """What is found of the packages here."""
    host = this_host()
    return try_engine(host, read_memory(host).available, None)


@pytest.fixture
def known_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages are looked at once for all tests that are about something else, and one window says enough."""
    monkeypatch.setattr(examination, "try_engine", lambda *_: engine)
    monkeypatch.setattr(examination, "check_optional", lambda: [])
    monkeypatch.setattr(measurement, "_MOST_WINDOWS", 1)


@pytest.fixture
def broken(demo_artifact: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return shutil.copytree(demo_artifact, tmp_path / "artifact")


def problems(report: Report) -> set[str]:
    return {check.problem for check in report.checks} - {"", "no-microphone", "no-arecord", "disturbed"}


def change_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.usefixtures("known_engine")
def test_an_artifact_is_measured(demo_artifact: Path) -> None:
    report = examine(this_host(), demo_artifact, seconds=0)
    assert report.works
    assert problems(report) <= {"slower-than-speech", "full-disk", "little-disk"}
    assert report.use is not None
    found = report.use.expected
    assert found is not None
    assert found.how == "measured"
    assert 0 < found.token < found.encode < found.sentence < found.window
    assert found.memory > 40e6
    assert "every checksum is right" in format_report(report)


@pytest.mark.usefixtures("known_engine")
def test_a_model_is_recommended_beside_an_artifact(
    demo_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "measure", lambda *_: (QUICK, None))
    alone, beside = examine(this_host()), examine(this_host(), demo_artifact)
    assert alone.recommended == alone.use
    assert [each.model for each in beside.candidates] == [each.model for each in alone.candidates]
    assert beside.use is not None
    assert beside.recommended is not None
    assert (beside.use.model, beside.recommended.model in CANDIDATES) == ("demo", True)
    text = format_report(beside)
    assert "\nuse      demo, " in text
    assert f"\nsuits    {beside.recommended.model}, int8, " in text
    assert f"edgewhisper build {beside.recommended.model} " in text
    assert "suits" not in format_report(alone)


@pytest.mark.usefixtures("known_engine")
def test_a_device_that_would_swap_works_and_is_warned(
    tmp_path: Path, demo_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "measure", lambda *_: (QUICK, None))
    model = "Raspberry Pi Zero 2 W Rev 1.0"
    host = Host(raspberry_pi(tmp_path, PI_ZERO_2, model, meminfo(416, 40, 500)), "aarch64", 64)
    for report in (examine(host, demo_artifact), examine(host)):
        assert report.works
        assert "would-swap" in problems(report)
        assert report.use is not None
        assert report.use.low_memory


@pytest.mark.usefixtures("known_engine")
def test_without_an_artifact_a_model_is_recommended() -> None:
    report = examine(this_host())
    assert report.works
    assert report.use is not None
    assert report.use.model in {each.model for each in report.candidates}
    text = format_report(report)
    assert f"edgewhisper build {report.use.model} " in text
    assert "estimated from matrix products" in text


@pytest.mark.usefixtures("known_engine")
def test_a_pi_5_is_examined_as_one(tmp_path: Path) -> None:
    """Its files, this machine's ONNX Runtime."""
    model = "Raspberry Pi 5 Model B Rev 1.0"
    host = Host(raspberry_pi(tmp_path, PI_5, model, meminfo(8064, 7600)), "aarch64", 64)
    report = examine(host)
    assert report.works
    assert report.use is not None
    assert (report.use.target, report.use.threads) == ("arm64", 4)
    assert format_report(report).startswith(f"edgewhisper {report.edgewhisper} on {model}\n")
    assert (report.device.board, report.device.features) == (model, ("dotprod", "fp16"))


@pytest.mark.usefixtures("known_engine")
def test_a_pi_zero_2_with_too_little_memory_does_not_work(tmp_path: Path, demo_artifact: Path) -> None:
    root = raspberry_pi(tmp_path, PI_ZERO_2, "Raspberry Pi Zero 2 W Rev 1.0", meminfo(416, 40))
    report = examine(Host(root, "aarch64", 64), demo_artifact)
    assert not report.works
    assert "too-little-memory" in problems(report)
    assert report.use is None
    assert problems(examine(Host(root, "aarch64", 64))) == {"no-model-fits"}


@pytest.mark.usefixtures("known_engine")
def test_a_32_bit_userland_does_not_work() -> None:
    report = examine(replace(this_host(), bits=32))
    assert not report.works
    assert "32-bit-userland" in problems(report)


@pytest.mark.usefixtures("known_engine")
@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (shutil.rmtree, "artifact-unusable"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "artifact-unusable"),
        (lambda folder: (folder / "encoder.onnx").unlink(), "artifact-unusable"),
        (lambda folder: remove(folder, "graphs", "decoder"), "artifact-unusable"),
        (lambda folder: (folder / "tokens.bin").write_bytes(b""), "artifact-damaged"),
        (lambda folder: change_byte(folder / "weights.bin"), "artifact-damaged"),
        (lambda folder: change_byte(folder / "tokenizer.json"), "artifact-damaged"),
    ],
)
def test_an_artifact_that_is_not_whole_does_not_work(
    spoil: Callable[[Path], object], problem: str, broken: Path
) -> None:
    spoil(broken)
    report = examine(this_host(), broken)
    assert not report.works
    assert problems(report) == {problem}
    assert report.use is None


@pytest.mark.usefixtures("known_engine")
def test_every_damaged_file_is_named(broken: Path) -> None:
    for name in ("decoder.onnx", "encoder.onnx"):
        change_byte(broken / name)
    text = format_report(examine(this_host(), broken))
    assert "decoder.onnx: wrong checksum" in text
    assert "encoder.onnx: wrong checksum" in text


@pytest.mark.usefixtures("known_engine")
def test_an_artifact_for_another_processor_is_warned_of(broken: Path, tmp_path: Path) -> None:
    edit(broken, "build", "target", value="x86-avx2")
    edit(broken, "model", "random_weights", value=True)
    board = raspberry_pi(tmp_path / "pi", PI_5, "Raspberry Pi 5", meminfo(8064, 7600))
    report = examine(Host(board, "aarch64", 64), broken, seconds=0)
    assert report.works
    assert {"artifact-target", "random-weights"} <= problems(report)
    assert "-> build it with --target arm64 [artifact-target]" in format_report(report)


@pytest.mark.usefixtures("known_engine")
def test_an_artifact_that_cannot_be_computed_with_does_not_work(broken: Path) -> None:
    """Whole by its checksums, and no graph."""
    graph = broken / "decoder.onnx"
    graph.write_bytes(bytes(graph.stat().st_size))
    manifest = json.loads((broken / "manifest.json").read_text())
    import hashlib

    for info in manifest["files"]:
        if info["name"] == graph.name:
            info["sha256"] = hashlib.sha256(graph.read_bytes()).hexdigest()
    (broken / "manifest.json").write_text(json.dumps(manifest))
    report = examine(this_host(), broken)
    assert problems(report) == {"artifact-fails"}
    assert "decoder.onnx: ONNX Runtime" in format_report(report)


@pytest.mark.usefixtures("known_engine")
@needs_illegal_instruction
def test_a_crash_while_transcribing_is_told(demo_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(reporter: Reporter, *_: object) -> None:
        reporter.begin("transcribing")
        illegal_instruction()

    monkeypatch.setattr(measurement, "_measure", crash)
    report = examine(this_host(), demo_artifact)
    assert not report.works
    assert problems(report) == {"illegal-instruction"}
    assert "transcribing: ended with an illegal instruction (SIGILL)" in format_report(report)


@pytest.mark.usefixtures("known_engine")
def test_a_draft_that_cannot_be_used_does_not_stop_it(
    demo_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = replace(QUICK, warnings=("draft.onnx: is damaged; decoding goes on without a draft",))
    monkeypatch.setattr(examination, "measure", lambda *_: (told, None))
    report = examine(this_host(), demo_artifact)
    assert report.works
    assert "draft-unusable" in problems(report)


@pytest.mark.usefixtures("known_engine")
def test_slow_and_disturbed_measurements_are_warned_of(
    demo_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = replace(QUICK, encode=20.0, disturbed=0.4)
    monkeypatch.setattr(examination, "measure", lambda *_: (slow, None))
    report = examine(this_host(), demo_artifact)
    assert report.works
    assert {"disturbed", "slower-than-speech"} <= {check.problem for check in report.checks}


def test_estimates_that_others_disturbed_are_warned_of(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.rates is not None
    for disturbed, said in ((0.0, False), (0.5, True)):
        found = replace(engine, disturbed=disturbed)
        monkeypatch.setattr(examination, "try_engine", lambda *_, found=found: found)
        assert ("disturbed" in {check.problem for check in examine(this_host()).checks}) is said


@pytest.mark.usefixtures("known_engine")
def test_the_command_prints_a_table_and_exits_0(command: Command, demo_artifact: Path) -> None:
    outcome = command("doctor", "-a", demo_artifact)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert any(line.startswith("ok       ONNX Runtime  ") for line in lines)
    assert re.fullmatch(r"works, (no|\d+) warnings?", lines[-1])
    assert max(map(len, lines)) < 400


@pytest.mark.usefixtures("known_engine")
def test_the_artifact_of_the_environment_is_examined(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWHISPER_ARTIFACT", str(tmp_path / "nothing"))
    outcome = command("doctor")
    assert outcome.code == 1
    assert "no such artifact folder" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("does not work: 1 failed")


@pytest.mark.parametrize("arguments", [("-a", ""), ("--model", "base"), ("surplus",), ("--seconds", "-1")])
def test_a_wrong_usage_exits_2(command: Command, arguments: tuple[str, ...]) -> None:
    command("doctor", *arguments).assert_refused(2)


@pytest.mark.usefixtures("known_engine")
def test_json_is_as_its_page_says(command: Command, tmp_path: Path) -> None:
    outcome = command("doctor", "--json")
    content: dict[str, Any] = json.loads(outcome.out)
    assert (content["schema"], content["version"]) == ("edgewhisper-doctor", 1)
    assert content["works"] is (outcome.code == 0)
    report: Report = parse_json(Report, content, "report")
    assert json.loads(report.to_json()) == content
    page = PAGE.read_text()
    documented = set(re.findall(r"^\| `([a-z_., `]+)` \|", page, re.MULTILINE))
    names = {name.strip(" `") for entry in documented for name in entry.split(",")}
    written = {
        *content,
        *content["device"],
        *content["checks"][0],
        *content["use"],
        *content["use"]["expected"],
    }
    written |= {*content["candidates"][0]}
    assert written <= names


def test_every_problem_is_made_somewhere_and_is_on_the_page() -> None:
    sources = [
        path.read_text() for path in Path(package.__file__).parent.glob("*.py") if path.name != "checks.py"
    ]
    for name, (_, advice) in PROBLEMS.items():
        assert any(f'"{name}"' in source for source in sources), name
        assert advice
        assert not advice.endswith(".")
    messages = PAGE.read_text().partition("## Messages")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \|", messages, re.MULTILINE)
    assert rows == [(name, status) for name, (status, _) in PROBLEMS.items()]


def test_nothing_that_a_device_lacks_is_loaded(demo_artifact: Path, tmp_path: Path) -> None:
    """And the parent loads nothing that could end it: ONNX Runtime is the children's, and NumPy theirs at first."""
    code = (
        "import sys; from edgewhisper.cli.main import main\n"
        "assert main(['doctor', '-a', sys.argv[1], '--seconds', '0']) == 0\n"
        "print([*sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(demo_artifact)],
        env=os.environ | {"EDGEWHISPER_STATE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(re.findall(r"'([\w.]+)'", done.stderr.splitlines()[-1]))
    assert "edgewhisper.deploy.doctor.examination" in loaded
    assert not {"onnxruntime", "onnx", "torch", "tabulate", "soundfile", "soxr"} & loaded
    rooms = {name.split(".")[1] for name in loaded if name.startswith("edgewhisper.")}
    assert not {"bench", "distill", "export", "quant"} & rooms
