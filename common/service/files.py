"""Files that are written as a whole."""

from pathlib import Path


def write_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Write a file, with the permissions `mode` less the umask, so that a reader sees the old text or the new one.

    Raises OSError; then the file has the old text, on a full disk too.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)  # what a killed process left may have other permissions
        new.touch(mode)
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # that of a write has no name
        raise
    finally:
        new.unlink(missing_ok=True)
