"""The report of a prediction."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pose2seg.data.posed_images import PosedImage
from pose2seg.prediction.loop import Masks
from pose2seg.prediction.outputs.collected import CollectedFile
from pose2seg.prediction.page import Entry, make_entry, page_writer


class Report(CollectedFile):
    """The report of a prediction, an HTML page: see `pose2seg.prediction.page`."""

    option = "report"
    content = "the report"

    def part(self, predicted: Masks[PosedImage]) -> Any:
        """See `CollectedFile`."""
        image, poses = predicted.content
        seconds = {"masks": predicted.seconds}
        return make_entry(
            predicted.item.path, image, poses.people, predicted.masks, predicted.qualities, seconds
        )

    def is_part(self, value: Any) -> bool:
        """See `CollectedFile`."""
        return isinstance(value, list) and [type(part) for part in value] == [str, int, dict]

    def write(self, parts: Iterable[Any], facts: Sequence[str], unfinished_in: Path | None) -> None:
        """See `CollectedFile`."""
        with page_writer(self.path, unfinished_in, facts) as page:
            for part in parts:
                page.add(Entry(*part))
