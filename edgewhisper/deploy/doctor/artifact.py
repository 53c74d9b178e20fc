"""The artifact: is it whole, and was it built for this processor?"""

from dataclasses import dataclass
from pathlib import Path

from edgewhisper.artifact import Manifest, check_file, draft_files, load_manifest
from edgewhisper.errors import ArtifactError, IntegrityError
from edgewhisper.runtime.processor import target_mismatch
from edgewhisper.runtime.state import DeviceState, state_folder
from edgewhisper.runtime.verification import verify_files

from .checks import Check, fine, problem
from .host import Host

_ABOUT = "artifact"


@dataclass(frozen=True)
class Examined:
    """An artifact that was looked at.

    Attributes:
        manifest: what it says of itself; None where that cannot be read.
        checks: what there is to say.
    """

    manifest: Manifest | None
    checks: tuple[Check, ...]

    @property
    def usable(self) -> bool:
        """Whether it can be loaded as far as its files go."""
        return self.manifest is not None and all(check.status != "failed" for check in self.checks)


def examine_artifact(folder: Path, host: Host) -> Examined:
    """Read the manifest, compare every file with its checksum, and the target with the processor."""
    try:
        manifest = load_manifest(folder, draft_may_lack=True)
        for name in ("encoder", "decoder"):
            manifest.graph(name)
    except ArtifactError as error:
        return Examined(None, (_refused(error),))
    checks = _check_files(folder, manifest)
    if not checks:
        size = sum(info.size for info in manifest.files)
        count = len(manifest.files)
        checks.append(
            fine(
                _ABOUT, f"{manifest.model.name}, {count} files, {size / 1e6:,.1f} MB, every checksum is right"
            )
        )
    if mismatch := target_mismatch(manifest.build.target, "cpu", host.processor):
        found, _, advice = mismatch.rpartition("; ")
        checks.append(problem("artifact-target", _ABOUT, found, advice))
    if manifest.model.random_weights:
        checks.append(problem("random-weights", _ABOUT, f"{manifest.model.name} has random weights"))
    return Examined(manifest, tuple(checks))


def _check_files(folder: Path, manifest: Manifest) -> list[Check]:
    """A check for each file that is not as it should be."""
    state = DeviceState(state_folder())
    of_draft = draft_files(manifest)
    checks = []
    for info in manifest.files:
        try:
            check_file(folder, info)
            verify_files(folder, [info], state, again=True)
        except ArtifactError as error:
            if info.name in of_draft:
                found, _, advice = str(error).rpartition("; ")
                checks.append(problem("draft-unusable", _ABOUT, found, advice))
            else:
                checks.append(_refused(error))
    return checks


def _refused(error: ArtifactError) -> Check:
    """The error's line says what to do after its last semicolon."""
    found, _, advice = str(error).rpartition("; ")
    name = "artifact-damaged" if isinstance(error, IntegrityError) else "artifact-unusable"
    if name == "artifact-damaged" or not found:
        return problem(name, _ABOUT, found or str(error))
    return problem(name, _ABOUT, found, advice)
