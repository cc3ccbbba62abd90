"""What is said of the records of a file that are not used as they are."""


class DatasetWarning(UserWarning):
    """Something that is left out, or not used as it is given; the message says what, and why."""
