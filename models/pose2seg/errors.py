"""The one exception for what a user can put right, and how it is told."""


class InputError(ValueError):
    """A file or a value given by the user cannot be used; the message says in one line which, and why."""


def in_one_line(error: InputError | OSError) -> str:
    """What the user is told."""
    if isinstance(error, OSError) and error.filename:
        error = InputError(f"{error.filename}: {error.strerror}")
    return " ".join(str(error).splitlines())
