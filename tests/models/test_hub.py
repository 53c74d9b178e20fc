"""Downloads from the hub: a small hub on this machine, an empty cache, no network."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewhisper.errors import MissingDependencyError
from edgewhisper.models.hub import download
from edgewhisper.models.reader import read_checkpoint
from tests.models.checkpoint_files import write_small_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class SmallHub(http.server.ThreadingHTTPServer):
    """Answers as the Hugging Face hub does for one repository, "someone/small"; remembers what was asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), SmallHubHandler)
        self.folder = folder
        self.downloaded: set[str] = set()


class SmallHubHandler(http.server.BaseHTTPRequestHandler):
    server: SmallHub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        known = ("/api/models/someone/small", "/api/models/someone/small/revision/main")
        file = self.server.folder / Path(self.path).name
        if self.path in known:
            files = [{"rfilename": path.name} for path in sorted(self.server.folder.iterdir())]
            self.reply(200, json.dumps({"id": "someone/small", "sha": COMMIT, "siblings": files}).encode())
        elif self.path.startswith("/api/models/someone/small/revision/"):
            self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif self.path.startswith(f"/someone/small/resolve/{COMMIT}/") and file.is_file():
            if self.command == "GET":
                self.server.downloaded.add(file.name)
            etag = f'"{file.name}-{file.stat().st_size}"'
            self.reply(200, file.read_bytes(), {"ETag": etag, "X-Repo-Commit": COMMIT})
        else:
            self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[SmallHub]:
    folder = write_small_folder(tmp_path / "hub")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "model.fp32-00001-of-00002.safetensors").write_bytes(b"the same weights once more")
    with SmallHub(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def read(source: str, cache: Path, hub: SmallHub | None = None, revision: str | None = None) -> str:
    """What reading from the hub prints in a process of its own: huggingface_hub takes its settings when imported."""
    program = f"""
from edgewhisper.errors import EdgeWhisperError
from edgewhisper.models.hub import download
from edgewhisper.models.transformers_folder import read_transformers_folder
try:
    print(read_transformers_folder(download({source!r}, {revision!r}), name="x", source="y").model.checkpoint_sha256)
except EdgeWhisperError as error:
    print(error)
"""
    address = f"http://127.0.0.1:{hub.server_address[1]}" if hub else "http://127.0.0.1:1"
    settings = {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0" if hub else "1"}
    run = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | settings, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def test_only_what_is_read_is_downloaded_and_then_the_cache_serves(hub: SmallHub, tmp_path: Path) -> None:
    expected = read_checkpoint(hub.folder).model.checkpoint_sha256
    assert read("someone/small", tmp_path / "cache", hub) == expected
    assert "model.safetensors" in hub.downloaded
    assert not {"pytorch_model.bin", "model.fp32-00001-of-00002.safetensors"} & hub.downloaded

    hub.downloaded.clear()
    assert read("someone/small", tmp_path / "cache", hub) == expected
    assert not hub.downloaded
    assert read("someone/small", tmp_path / "cache") == expected


def test_unknown_repositories_and_revisions_are_named(hub: SmallHub, tmp_path: Path) -> None:
    assert read("someone/else", tmp_path, hub).startswith("someone/else: no such model on the hub")
    assert read("someone/small", tmp_path, hub, "v9").startswith(
        "someone/small: the hub has no revision 'v9'"
    )


def test_repositories_without_safetensors_are_named(hub: SmallHub, tmp_path: Path) -> None:
    (hub.folder / "model.safetensors").unlink()
    found = read("someone/small", tmp_path, hub)
    assert found.startswith("someone/small: the repository has no model.safetensors")


def test_offline_and_not_in_the_cache(tmp_path: Path) -> None:
    found = read("openai/whisper-tiny", tmp_path)
    assert found.startswith(
        "openai/whisper-tiny: cannot be downloaded and is not in the cache; connect to the network"
    )


def test_names_of_cards_are_downloaded_from_their_hub_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write_small_folder(tmp_path / "small")
    asked = []

    def download_small(hub_id: str) -> Path:
        asked.append(hub_id)
        return folder

    monkeypatch.setattr("edgewhisper.models.reader.download", download_small)
    for source in ("tiny.en", "openai/whisper-tiny.en", "someone/other"):
        read_checkpoint(source)
    assert asked == ["openai/whisper-tiny.en", "openai/whisper-tiny.en", "someone/other"]
    model = read_checkpoint("tiny.en").model
    assert (model.name, model.source, model.licence) == ("tiny.en", "openai/whisper-tiny.en", "Apache-2.0")


def test_without_huggingface_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgewhisper\[build\]'"):
        download("openai/whisper-tiny")
