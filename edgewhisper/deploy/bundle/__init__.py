"""The bundle: one file that installs edgewhisper with a model on a Raspberry Pi, without pip, compiler or network."""
