"""What this device can do: `edgewhisper doctor`.

Each file looks at one thing and says what it found as checks (`checks.py`); `examination.py` puts them together. Whatever may end
the process (importing ONNX Runtime, loading graphs, computing) happens in forked children (`trial.py`), so that a crash is
a finding. Only what a device has is imported.
"""
