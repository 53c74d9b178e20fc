"""What the README and the docs print works as printed."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
README = ROOT / "README.md"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def shell_lines(page: Path) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shell_blocks_are_valid(page: Path) -> None:
    for block in blocks(page, "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"\bmake ([a-z0-9-]+)", " ".join(shell_lines(page))))
    known = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_compile_and_import(page: Path) -> None:
    for block in blocks(page, "python"):
        imports: list[ast.stmt] = [node for node in ast.parse(block).body if isinstance(node, ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), page.name, "exec"), {})


def test_extras_are_those_of_the_project() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE)
    assert table == list(extras)


def test_the_readmes_commands_and_code_work(tmp_path: Path) -> None:
    """In a folder with the model and its recordings beside it, as in a clone; the installation is that of the tests."""
    (tmp_path / "edgewhisper" / "models").mkdir(parents=True)
    (tmp_path / "edgewhisper" / "models" / "demo").symlink_to(ROOT / "edgewhisper" / "models" / "demo")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    lines = [line for line in shell_lines(README) if line.startswith("edgewhisper ")]
    assert len(lines) >= 4
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout.strip()

    recording = next((tmp_path / "edgewhisper" / "models" / "demo" / "recordings").glob("*.flac"))
    shutil.copy(recording, tmp_path / "speech.flac")
    (block,) = blocks(README, "python")
    code = ["-I", "-c", block]
    assert subprocess.run(
        [sys.executable, *code], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    ("variables", "words"),
    [(["DRAFT=tiny"], "shared:1"), (["PRECISION=int1"], "int1")],
)
def test_make_artifacts_refuses_what_does_not_exist(variables: list[str], words: str) -> None:
    """With this environment in the place of the Makefile's own, and nothing to install."""
    stamps = [
        f"VENV={Path(sys.executable).parents[1]}",
        "-o",
        f"{Path(sys.executable).parents[1]}/build-installed",
    ]
    done = subprocess.run(
        ["make", "-s", "artifacts", *stamps, *variables], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert words in done.stderr
