"""What ends a replay before anything is sent."""


class BadRecording(Exception):
    """The files, the mapping or the times of a recording can't be used; the text is one sentence for the user."""


class NoRoom(Exception):
    """The recording can't be sorted on this machine; the text is one sentence for the user."""
