"""Builds: what they write, and that equal builds are equal bytes."""

import importlib.metadata
import os
import shutil
from dataclasses import replace
from pathlib import Path

from edgewhisper.artifact import (
    FORMAT_VERSION,
    MANIFEST,
    MEASURED,
    TOKENIZER,
    TOKENS,
    load_manifest,
    verify_file,
)
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.measurements import read_measurements
from edgewhisper.pipeline.steps import BuildStep
from edgewhisper.runtime.processor import host_target
from edgewhisper.runtime.vocabulary import read_vocabulary
from tests.pipeline.observing import run_python, snapshot

FILES = {"encoder.onnx", "decoder.onnx", "weights.bin", TOKENIZER, TOKENS, MANIFEST, MEASURED}


# What is written


def test_an_artifact_holds_the_files_of_the_contract_and_no_others(small_artifact: Path) -> None:
    assert set(os.listdir(small_artifact)) == FILES
    manifest = load_manifest(small_artifact)
    assert {info.name for info in manifest.files} == FILES - {MANIFEST, MEASURED}
    for info in manifest.files:
        verify_file(small_artifact, info)


def test_the_manifest_carries_the_checkpoints_constants(small_checkpoint: Path, small_artifact: Path) -> None:
    manifest, checkpoint = load_manifest(small_artifact), read_checkpoint(small_checkpoint)
    assert manifest.format_version == FORMAT_VERSION
    assert manifest.model == checkpoint.model
    assert manifest.model.random_weights
    assert manifest.dimensions == checkpoint.dimensions
    assert manifest.tokens == checkpoint.token_ids
    assert (manifest.audio.n_mels, manifest.audio.n_frames) == (80, 200)
    assert manifest.build.options == {
        "precision": "fp32",
        "encoder_precision": "fp32",
        "decoder_precision": "fp32",
        "ops": "fused",
        "target": host_target(),
        "winograd": "auto",
    }
    assert set(manifest.graphs) == {"encoder", "decoder"}


def test_the_manifest_names_the_packages_that_write_the_graphs(small_artifact: Path) -> None:
    versions = load_manifest(small_artifact).build.versions
    packages = ("edgewhisper", "numpy", "onnx", "onnx-ir", "protobuf")
    assert versions == {package: importlib.metadata.version(package) for package in packages}


def test_the_vocabulary_is_written_for_text_and_for_prompts(
    small_checkpoint: Path, small_artifact: Path
) -> None:
    from tokenizers import Tokenizer

    checkpoint = read_checkpoint(small_checkpoint)
    end = checkpoint.token_ids.end_of_text
    vocabulary = read_vocabulary(small_artifact / TOKENS, end)
    tokenizer = Tokenizer.from_file(str(small_artifact / TOKENIZER))
    text = "over the hills, naïve"
    ids = tokenizer.encode(text).ids
    assert len(ids) < len(text.encode())
    assert vocabulary.text(ids) == tokenizer.decode(ids) == text
    assert len(vocabulary) == tokenizer.get_vocab_size() == checkpoint.dimensions.vocab_size


def test_a_builds_times_and_parity_are_measured(small_artifact: Path) -> None:
    measurements = read_measurements(small_artifact)
    assert measurements is not None
    assert measurements.parity is not None
    assert all(seconds >= 0 for seconds in measurements.seconds.values())
    assert len(measurements.seconds) == 6


def test_each_step_is_announced_in_order(small_checkpoint: Path, tmp_path: Path) -> None:
    steps: list[BuildStep] = []
    build(small_checkpoint, tmp_path / "out", parity=False, progress=steps.append)
    assert [step.number for step in steps] == list(range(1, steps[0].total + 1))
    assert len({step.name for step in steps}) == len(steps)


# Equal builds are equal bytes


BUILD = """
    import sys
    from edgewhisper.pipeline.build import build
    build(sys.argv[1], sys.argv[2], parity=False)
"""


def test_two_builds_are_equal_to_the_byte_but_for_the_measurements(
    small_checkpoint: Path, small_artifact: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere" / small_checkpoint.name
    shutil.copytree(small_checkpoint, copy)
    for path in copy.iterdir():
        os.utime(path, (1, 1))
    first, second = tmp_path / "first", tmp_path / "deeper" / "second"
    assert run_python(BUILD, small_checkpoint, first, PYTHONHASHSEED="1", TZ="UTC").returncode == 0
    assert run_python(BUILD, copy, second, PYTHONHASHSEED="2", TZ="Asia/Tokyo").returncode == 0
    contents = [snapshot(folder) for folder in (small_artifact, first, second)]
    for files in contents:
        assert set(files) == FILES
        del files[MEASURED]
    assert contents[0] == contents[1] == contents[2]


def test_the_folders_name_is_the_models_and_changes_nothing_else(
    small_checkpoint: Path, small_artifact: Path, tmp_path: Path
) -> None:
    renamed = build(shutil.copytree(small_checkpoint, tmp_path / "renamed"), tmp_path / "out", parity=False)
    before, after = load_manifest(small_artifact), load_manifest(renamed)
    assert (before.model.name, after.model.name) == (small_checkpoint.name, "renamed")
    assert replace(after, model=replace(after.model, name=before.model.name)) == before


def test_no_file_names_a_path_of_the_machine_that_built_it(
    small_checkpoint: Path, small_artifact: Path
) -> None:
    for name, data in snapshot(small_artifact).items():
        for path in (small_checkpoint.parent, small_artifact.parent, Path.home(), Path.cwd()):
            assert os.fsencode(path) not in data, name


def test_a_build_without_parity_loads_neither_torch_nor_transformers(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    code = BUILD + "    assert not {'torch', 'transformers', 'onnxruntime'} & set(sys.modules)\n"
    done = run_python(code, small_checkpoint, tmp_path / "out")
    assert done.returncode == 0, done.stderr
