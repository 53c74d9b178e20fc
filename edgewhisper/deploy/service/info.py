"""What the service says of itself: the answer to Wyoming's `describe`."""

from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from edgewhisper import __version__
from edgewhisper.artifact import Manifest


def describe(manifest: Manifest) -> Info:
    """One program with one model, and the languages of the artifact."""
    model = manifest.model
    precision = manifest.graph("decoder").precision
    return Info(
        asr=[
            AsrProgram(
                name="edgewhisper",
                description="Whisper for small machines",
                attribution=Attribution("edgewhisper", ""),
                installed=True,
                version=__version__,
                supports_transcript_streaming=True,
                models=[
                    AsrModel(
                        name=model.name,
                        description=f"Whisper {model.name}, {precision}",
                        attribution=Attribution(model.source, ""),
                        installed=True,
                        version=model.checkpoint_sha256[:12],
                        languages=sorted(manifest.tokens.languages) or ["en"],
                    )
                ],
            )
        ]
    )
