"""The results of a command, in files that hold every result as soon as it is known."""

import json
import tarfile
from pathlib import Path
from typing import Any


class Record:
    """Writes results to FOLDER/NAME: results.jsonl, report.txt and the logs of programs.

    FOLDER/NAME.tar.gz holds all of these files as of the last call of `archive`.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.iterdir():  # by an earlier run
            left.unlink()
        self._archive = folder / f"{name}.tar.gz"

    def log(self, name: str) -> Path:
        """Returns the path of a log."""
        return self.folder / name

    def add(self, step: str, text: str, **values: Any) -> None:
        """Adds a line to both files, and prints the text."""
        with self.log("results.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        line = f"{step}: {text}"
        with self.log("report.txt").open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)

    def archive(self) -> None:
        unfinished = self._archive.with_suffix(".part")
        with tarfile.open(unfinished, "w:gz") as archive:
            archive.add(self.folder, self.folder.name)
        unfinished.replace(self._archive)
