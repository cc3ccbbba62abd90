"""The one exception for what a user can put right."""


class InputError(ValueError):
    """A file or a value given by the user cannot be used; the message says in one line which, and why."""
