"""Work on each recording of a corpus, in this process, in several of this machine, or on a cluster."""
