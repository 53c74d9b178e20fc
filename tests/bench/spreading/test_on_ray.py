"""A corpus on a real Ray on this machine: the same results as without it, whatever dies on the way."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgewhisper.bench.corpora.utterance import Utterance
from edgewhisper.bench.evaluation.results import Result
from edgewhisper.bench.evaluation.transcribing import Task
from edgewhisper.bench.spreading.local import in_this_process
from edgewhisper.errors import CorpusError, EdgeWhisperError, UsageError
from edgewhisper.runtime.options import DecodingOptions
from tests.conftest import BundledRecording

if TYPE_CHECKING:
    from edgewhisper.bench.spreading import on_ray
else:
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install edgewhisper[ray]")
    from edgewhisper.bench.spreading import on_ray

import ray

pytestmark = [
    pytest.mark.slow,
    # Of Ray's own modules, and of the files and processes that it leaves to its own end.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def task(demo_artifact: Path) -> Task:
    return Task(demo_artifact, DecodingOptions(), threads=1)


@pytest.fixture
def utterances(recordings: Sequence[BundledRecording]) -> list[Utterance]:
    """Six recordings, English and German; one of them as bytes."""
    found = [
        Utterance(recording.path.name, recording.path, recording.text, recording.language)
        for group in ("seen", "german", "unseen")
        for recording in [recording for recording in recordings if recording.group == group][:2]
    ]
    return [replace(found[0], audio=recordings[0].path.read_bytes()), *found[1:]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Ray that somebody else started."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def run(task: Task, utterances: Sequence[Utterance], jobs: int = 2) -> list[Result]:
    return list(on_ray.ray_engine(jobs)(task, iter(utterances)))


def by_key(results: Sequence[Result]) -> list[Result]:
    """Sorted, without what differs from run to run."""
    return sorted((replace(result, seconds=0) for result in results), key=lambda result: result.key)


def children() -> set[str]:
    """Processes that this one started and that have not ended."""
    found = {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}
    return {pid for pid in found if ") Z " not in Path(f"/proc/{pid}/stat").read_text()}


def test_results_are_those_of_this_process(
    task: Task, utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.flac").write_bytes(b"fLaC, and nothing else")
    shutil.copy(str(utterances[1].audio), tmp_path / "relative.flac")
    monkeypatch.chdir(tmp_path)
    utterances[2:2] = [
        Utterance("broken", Path("broken.flac"), "x"),
        Utterance("relative", Path("relative.flac")),
        Utterance("gone", None, "x", problem="no audio"),
    ]
    before = children()
    found = by_key(run(task, utterances))
    expected = by_key(list(in_this_process(task, iter(utterances))))
    problems = {result.key: result.problem or "" for result in found if result.text is None}
    assert set(problems) == {"broken", "gone"}
    assert str(tmp_path / "broken.flac") in problems["broken"]
    assert [replace(result, problem=None) for result in found] == [
        replace(result, problem=None) for result in expected
    ]
    assert not ray.is_initialized()
    assert children() <= before


def test_a_run_that_is_left_ends_ray(task: Task, utterances: list[Utterance]) -> None:
    before = children()
    with closing(on_ray.ray_engine(1)(task, iter(utterances))) as results:
        next(results)
        assert ray.is_initialized()
    assert not ray.is_initialized()
    assert children() <= before


def test_nothing_to_do_starts_nothing(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "init", None)
    assert run(task, []) == []


def kill_readers(pipe: Path, times: int, replacement: Path) -> None:
    """Kill whoever opens `pipe`, each of `times` times; who comes after the last finds a recording there."""
    for left in reversed(range(times)):
        while True:
            with suppress(OSError):  # nobody reads it yet
                writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
                break
            time.sleep(0.05)
        while not (killed := readers(pipe)):
            time.sleep(0.05)
        if not left:
            shutil.copy(replacement, pipe.with_suffix(".new"))
            os.replace(pipe.with_suffix(".new"), pipe)
        for reader in killed:
            os.kill(reader, signal.SIGKILL)
        while killed & readers(pipe):  # a process that is dying must not count twice
            time.sleep(0.05)
        os.close(writer)


def readers(pipe: Path) -> set[int]:
    """Other processes that have `pipe` open, also when another file has its name by now."""
    links = (link for link in Path("/proc").glob("[0-9]*/fd/*") if link.parts[2] != str(os.getpid()))
    return {int(link.parts[2]) for link in links if target(link) in (str(pipe), f"{pipe} (deleted)")}


def target(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


def test_a_killed_process_costs_no_recording(task: Task, utterances: list[Utterance], tmp_path: Path) -> None:
    """One that kills a process once is transcribed by another; one that kills three is given up."""
    deadly = {1: Utterance("once", tmp_path / "once.flac"), 3: Utterance("thrice", tmp_path / "thrice.flac")}
    killers = []
    for times, utterance in deadly.items():
        pipe = Path(str(utterance.audio))
        os.mkfifo(pipe)
        arguments = (pipe, times, Path(str(utterances[1].audio)))
        killers.append(threading.Thread(target=kill_readers, args=arguments, daemon=True))
        killers[-1].start()
    found = by_key(run(task, [utterances[0], *deadly.values(), *utterances[1:]]))
    for killer in killers:
        killer.join(10)
        assert not killer.is_alive()
    (given_up,) = (result for result in found if result.key == "thrice")
    assert given_up.problem == "its process was killed 3 times"
    found.remove(given_up)
    assert found == by_key(list(in_this_process(task, iter([*utterances, deadly[1]]))))


def test_a_cluster_that_is_there_is_used_and_left(
    cluster: None, task: Task, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "_PORTION", 4)
    found = run(task, utterances)
    assert by_key(found) == by_key(list(in_this_process(task, iter(utterances))))

    def broken() -> Iterator[Utterance]:
        yield from utterances[:4]
        raise CorpusError("the corpus ends here")

    results = on_ray.ray_engine(3)(task, broken())  # more than fit at once
    assert {next(results).key for _ in range(4)} == {utterance.key for utterance in utterances[:4]}
    with pytest.raises(CorpusError, match="the corpus ends here"):
        next(results)

    with pytest.raises(EdgeWhisperError, match=r"on the Ray node .*") as caught:
        run(replace(task, artifact=Path("gone").absolute()), utterances)
    assert str(Path("gone").absolute()) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ray.is_initialized()
    deadline = time.monotonic() + 20
    while ray.available_resources().get("CPU") != 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == 2


def test_what_ray_returns_twice_counts_once_and_what_it_loses_is_an_error(
    cluster: None, task: Task, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    from_items = ray.data.from_items

    def changed(change: Callable[[list[Any]], list[Any]]) -> Callable[..., Any]:
        return lambda items, override_num_blocks: from_items(change(items))

    monkeypatch.setattr(ray.data, "from_items", changed(lambda items: items + items[:2]))
    assert len(run(task, utterances)) == len(utterances)
    monkeypatch.setattr(ray.data, "from_items", changed(lambda items: items[1:]))
    with pytest.raises(EdgeWhisperError, match=rf"lost 1 recordings, such as {utterances[0].key}; run"):
        run(task, utterances)


def test_an_address_without_a_cluster_is_one_line(
    task: Task, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(
        EdgeWhisperError, match=r"no cluster at 127.0.0.1:1 \(.*\); check RAY_ADDRESS"
    ) as caught:
        run(task, utterances)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("jobs", "threads", "provider", "nodes", "expected"),
    [
        (1, None, "cpu", [{"CPU": 4.0}], (4, 0)),
        (3, None, "cpu", [{"CPU": 4.0}, {"CPU": 4.0}], (2, 0)),
        (2, None, "cpu", [{"CPU": 1.0}, {"CPU": 16.0}, {}], (8, 0)),
        (9, None, "cpu", [{"CPU": 4.0, "GPU": 1.0}], (1, 0)),
        (2, 3, "cpu", [{"CPU": 4.0}], (3, 0)),
        (3, 1, "cuda", [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 1.0}], (1, 0.5)),
        (2, 1, "tensorrt", [{"CPU": 4.0, "GPU": 2.0}], (1, 1.0)),
        (2, 1, "cuda", [{"CPU": 4.0}], (1, 0)),
    ],
)
def test_processes_share_the_nodes(
    jobs: int,
    threads: int | None,
    provider: str,
    nodes: list[dict[str, float]],
    expected: tuple[int, float],
) -> None:
    assert on_ray.share(threads, provider, jobs, nodes) == expected


def test_a_process_that_fits_on_no_node_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"no node .* has 8 processors \(the largest has 4\); lower --threads"
    ):
        on_ray.share(8, "cpu", 1, [{"CPU": 4.0}, {"CPU": 4.0}])
    with pytest.raises(UsageError, match="the largest has 0"):
        on_ray.share(None, "cpu", 1, [{}])
