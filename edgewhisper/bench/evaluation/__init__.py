"""How well artifacts transcribe a corpus: `edgewhisper eval`."""
