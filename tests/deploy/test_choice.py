"""Which model, precision and thread count are recommended, and what is expected of them."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from edgewhisper.artifact import load_manifest
from edgewhisper.deploy.doctor.choice import CANDIDATES, choose_artifact, choose_model, estimate
from edgewhisper.deploy.doctor.host import Cores, Host
from edgewhisper.deploy.doctor.measurement import Measurement
from edgewhisper.deploy.doctor.products import Rates
from edgewhisper.models.cards import find_card
from edgewhisper.runtime.memory_budget import transcription_memory
from tests.deploy.trees import PI_4, cpus, write_files

FAST = Rates(int8=800e9, fp32=400e9, bandwidth=80e9)
SLOW = Rates(int8=4e9, fp32=3e9, bandwidth=2e9)
ROOMY = 10**11
MEASURED = Measurement(30.0, 1.5, 0.1, 0.9, 0.01, 180_000_000, 0.0, 4, False)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(write_files(tmp_path, {"proc/cpuinfo": PI_4} | cpus(4)), "aarch64", 64)


def test_the_largest_that_fits_memory_and_patience_is_taken(host: Host) -> None:
    use, candidates = choose_model(host, FAST, ROOMY, ROOMY)
    assert use is not None
    assert (use.model, use.precision, use.target, use.threads, use.low_memory) == (
        "medium",
        "int8",
        "arm64",
        4,
        False,
    )
    assert [each.model for each in candidates] == list(CANDIDATES)
    assert all(each.reason == "" for each in candidates)


@pytest.mark.parametrize("free", [300_000_000, 700_000_000, 2_000_000_000])
def test_what_is_taken_leaves_memory_for_others(host: Host, free: int) -> None:
    use, candidates = choose_model(host, FAST, free, ROOMY)
    assert use is not None
    assert use.expected is not None
    assert use.expected.memory <= 0.7 * free
    larger = CANDIDATES[CANDIDATES.index(use.model) + 1 :]
    assert all("MB that are free" in each.reason for each in candidates if each.model in larger)
    assert f"{free / 1e6:,.0f} MB of free memory" in use.why


def test_a_slow_machine_gets_the_smallest_model_and_is_told_why(host: Host) -> None:
    use, candidates = choose_model(host, SLOW, ROOMY, ROOMY)
    assert use is not None
    assert use.model == "tiny"
    assert "a short sentence would take" in use.why
    assert all(each.reason for each in candidates)


def test_a_full_disk_keeps_the_larger_ones_away(host: Host) -> None:
    use, candidates = choose_model(host, FAST, ROOMY, 250_000_000)
    assert use is not None
    assert use.model == "base"
    assert "free disk" in candidates[2].reason


def test_little_memory_asks_for_low_memory(host: Host) -> None:
    dims = find_card("tiny").dimensions
    usual, least = (transcription_memory(dims, "int8-dynamic", "int8", low) for low in (False, True))
    use, _ = choose_model(host, FAST, usual - 1, ROOMY)
    assert use is not None
    assert (use.model, use.low_memory) == ("tiny", True)
    assert choose_model(host, FAST, least - 1, ROOMY)[0] is None
    assert choose_model(host, FAST, least - 2, ROOMY, free_swap=1)[0] is None
    swapping, _ = choose_model(host, FAST, least - 1, ROOMY, free_swap=1)
    assert swapping is not None
    assert (swapping.model, swapping.low_memory) == ("tiny", True)


def test_larger_models_are_expected_to_take_more(host: Host) -> None:
    _, candidates = choose_model(host, FAST, ROOMY, ROOMY)
    for one, two in itertools.pairwise(candidates):
        smaller, larger = one.expected, two.expected
        assert smaller.how == "estimated"
        assert smaller.sentence < larger.sentence
        assert smaller.window < larger.window
        assert smaller.memory < larger.memory
        assert smaller.disk < larger.disk


def test_twice_the_speed_is_half_the_time() -> None:
    dims = find_card("base").dimensions
    doubled = Rates(2 * FAST.int8, 2 * FAST.fp32, 2 * FAST.bandwidth)
    once, twice = (estimate(dims, rates, 1) for rates in (FAST, doubled))
    assert once.sentence == pytest.approx(2 * twice.sentence)
    assert once.real_time_factor == pytest.approx(once.window / 30)


def test_an_artifacts_figures_are_those_that_were_measured(host: Host, demo_artifact: Path) -> None:
    manifest = load_manifest(demo_artifact)
    use = choose_artifact(host, manifest, False, MEASURED)
    assert (use.model, use.precision, use.threads) == ("demo", "fp32", 4)
    found = use.expected
    assert found is not None
    assert found.how == "measured"
    assert found.sentence == pytest.approx(1.0 + 15 * 0.01)
    assert found.window == pytest.approx(1.0 + 100 * 0.01)
    assert found.real_time_factor == pytest.approx(2.0 / 30)
    assert (found.memory, found.load) == (180_000_000, 1.5)
    assert found.disk == sum(info.size for info in manifest.files)


def test_why_so_many_threads_is_said(host: Host, demo_artifact: Path) -> None:
    manifest = load_manifest(demo_artifact)
    assert "one for each core" in choose_artifact(host, manifest, False, None).why
    fast = replace(host)
    fast.__dict__["cores"] = Cores(8, 8, 4)
    assert "one for each fast core, 4 of 8" in choose_artifact(fast, manifest, False, None).why
    limited = replace(host)
    limited.__dict__["cores"] = Cores(4, 4, 4, quota=2.5)
    assert "(2.5 processors)" in choose_artifact(limited, manifest, True, None).why
