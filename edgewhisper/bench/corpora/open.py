"""Any way to name a corpus -> its utterances."""

from pathlib import Path

from edgewhisper.errors import CorpusError

from .folders import KALDI, LIBRISPEECH, kaldi, librispeech, plain_folder
from .hugging_face import PREFIX, data_set, is_saved
from .tables import TRANSCRIPTS, table
from .utterance import Corpus

FORMS = "a folder of recordings (with a .txt beside each), of LibriSpeech or of Kaldi, a table of Common Voice, or a data set hf:NAME:SPLIT"


def open_corpus(source: str | Path) -> Corpus:
    """Find out what a corpus is.

    Args:
        source: a folder of recordings, with a transcript NAME.txt beside each or without; a folder with `transcripts.tsv`; LibriSpeech's
            layout (*.trans.txt); a Kaldi data folder (wav.scp); a table of Common Voice (.tsv); a data set of Hugging Face: "hf:NAME:SPLIT",
            or its folder, with ":SPLIT" behind it where it has several.

    Raises:
        CorpusError: there is no such thing, or it cannot be read.
        MissingDependencyError: the package `datasets`, for data sets.
    """
    name = str(source)
    if name.startswith(PREFIX):
        return data_set(name)
    path = Path(source)
    if path.is_file():
        if path.suffix.lower() != ".tsv":
            raise CorpusError(f"{path}: is a file; give {FORMS}")
        return table(path)
    if not path.is_dir():
        before = Path(name.rpartition(":")[0])
        if ":" in name and before.is_dir() and is_saved(before):
            return data_set(name)
        raise CorpusError(f"{path}: there is no such corpus; give {FORMS}")
    try:
        if (path / TRANSCRIPTS).is_file():
            return table(path / TRANSCRIPTS)
        if (path / KALDI).is_file():
            return kaldi(path)
        if next(path.rglob(LIBRISPEECH), None) is not None:
            return librispeech(path)
        if is_saved(path):
            return data_set(name)
        if (path / "clips").is_dir() and (tables := sorted(path.glob("*.tsv"))):
            names = ", ".join(found.name for found in tables)
            raise CorpusError(
                f"{path}: is Common Voice; name one of its tables ({names}), such as {tables[0]}"
            )
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); name another corpus") from None
    return plain_folder(path)
