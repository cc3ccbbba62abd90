"""The command `pose2seg` while it starts; not in `pose2seg`, the import of which is what takes time."""

import signal


def main() -> int:
    """`pose2seg.cli.main`. Ctrl-C ends its imports at once, and with no traceback of theirs."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # and not ignored, as in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pose2seg import cli

    signal.signal(signal.SIGINT, handler)
    return cli.main()
