"""Every error a user can meet.

EdgeWhisperError
├── UsageError               an option or argument that cannot be used (exit code 2)
│   └── CorpusError          a corpus that is not there, is of no known layout or cannot be read
├── MissingDependencyError   an optional package or program that is not installed
├── AudioError               a recording that cannot be read
├── CheckpointError          a Whisper checkpoint that cannot be read or is not one
├── BuildError               a build that failed: export, parity, accuracy gate, disk
├── ArtifactError            an artifact that is missing, damaged or too new
│   └── IntegrityError       a file whose checksum is not the manifest's
├── ProviderError            an execution provider that is unknown, absent or takes no node
├── OutputError              a result that cannot be written
└── ServiceError             a service that cannot start: its port is in use, its address is not of this machine

Each message is one line: what was wrong, with which file or option, and what to do.
"""


class EdgeWhisperError(Exception):
    """Root of all errors raised on purpose; `exit_code` is what the command exits with."""

    exit_code = 1


class UsageError(EdgeWhisperError):
    """An option or argument that cannot be used."""

    exit_code = 2


class CorpusError(UsageError):
    """A corpus that is not there, is of no known layout or cannot be read."""


class MissingDependencyError(EdgeWhisperError):
    """An optional package or program that is not installed."""


class AudioError(EdgeWhisperError):
    """A recording that cannot be read."""


class CheckpointError(EdgeWhisperError):
    """A Whisper checkpoint that cannot be read or is not one."""


class BuildError(EdgeWhisperError):
    """A build that failed."""


class ArtifactError(EdgeWhisperError):
    """An artifact that is missing, damaged or written by a newer release."""


class IntegrityError(ArtifactError):
    """A file of an artifact whose checksum is not the one in its manifest."""


class ProviderError(EdgeWhisperError):
    """An execution provider that is unknown, absent, or takes none of a graph's nodes."""


class OutputError(EdgeWhisperError):
    """A result that cannot be written."""


class ServiceError(EdgeWhisperError):
    """A service that cannot start."""
