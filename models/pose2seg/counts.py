"""Numbers of things, for people to read."""


def counted(number: int, singular: str, plural: str) -> str:
    """ "1 person", "12,000 people"."""
    return f"{number:,} {singular if number == 1 else plural}"
