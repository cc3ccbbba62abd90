"""The exception for problems that the user can fix, and its message."""


class InputError(ValueError):
    """Raised if a file or a value from the user cannot be used; the one-line message says which and why."""


def in_one_line(error: InputError | OSError) -> str:
    """Returns the message of an error, in one line, for the user."""
    if isinstance(error, OSError) and error.filename:
        error = InputError(f"{error.filename}: {error.strerror}")
    return " ".join(str(error).splitlines())
