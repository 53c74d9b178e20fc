"""From a microphone to text: utterances are found in a stream of sound and transcribed one after the other.

Sound comes from a source (`sources`, `microphone`), is divided into utterances where there is voice (`voice_activity`, `segmenter`), which
wait in a backlog (`backlog`) until `listener.Listener` has turned those before them into text.
"""
