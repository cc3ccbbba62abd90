"""Messages about downloads."""

import sys
import urllib.request
from pathlib import Path


def announce_download(url: str, *kept_as: Path) -> None:
    """Prints to standard error what a library will download, from where, and how large it is.

    kept_as: the paths at which the library may keep the file; if one of them exists, nothing is printed.
    """
    if any(path.exists() for path in kept_as):
        return
    folder = kept_as[0].parent
    print(f"pose2seg: downloading {url} ({_size(url)}) into {folder}", file=sys.stderr)


def _size(url: str) -> str:
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return f"{int(answer.headers['Content-Length']) / 1e6:.1f} MB"
    except (OSError, TypeError, ValueError):  # the download itself will report the problem
        return "of unknown size"
