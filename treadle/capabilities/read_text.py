"""`read-text`: the text in a picture, by PP-OCRv6 (PaddleOCR) through RapidOCR on onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from treadle.capabilities import protocol
from treadle.capabilities.boxes import Box, Mark
from treadle.capabilities.limits import cores
from treadle.capabilities.pictures import Picture
from treadle.capabilities.sources import missing_guest


class Reading(protocol.Parameters, frozen=True, kw_only=True):
    """What is kept of what was read.

    Attributes:
        min_score: Lines that are less sure are left out.
    """

    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


class Line(msgspec.Struct, frozen=True):
    """One line of text, how sure it is, and where it stands."""

    text: str
    score: float
    box: Box


class Text(msgspec.Struct, frozen=True):
    """All lines, from top to bottom, and joined."""

    text: str
    lines: list[Line]


class ReadText(protocol.Capability):
    """The text in a picture."""

    name = "read-text"
    takes = "image"
    Parameters = Reading
    Answer = Text
    hub_task = "image-to-text"

    def load(self, weights: protocol.Weights) -> None:
        """Open the detector, the one that turns lines upright, and the recognizer."""
        try:
            from rapidocr import RapidOCR
        except ImportError:
            raise missing_guest("rapidocr", "vision") from None
        detector, turner, recognizer = (str(weights.folder / name) for name in weights.entry.source.files)
        self._reader = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Det.model_path": detector,
                "Cls.model_path": turner,
                "Rec.model_path": recognizer,
                "EngineConfig.onnxruntime.intra_op_num_threads": cores(),
            }
        )

    def run(self, inputs: Sequence[Picture], parameters: Reading) -> list[Text]:
        """Read each picture."""
        return [self._one(picture, parameters) for picture in inputs]

    def _one(self, picture: Picture, parameters: Reading) -> Text:
        blue_first = np.ascontiguousarray(picture.pixels[:, :, ::-1])
        found: Any = self._reader(blue_first, text_score=parameters.min_score)
        if found.txts is None:
            return Text("", [])
        rows = zip(found.txts, found.scores, found.boxes, strict=True)
        lines = [Line(text, float(score), _around(corners)) for text, score, corners in rows]
        return Text("\n".join(line.text for line in lines), lines)

    def confidence(self, answer: Text) -> float | None:
        """The mean of its lines."""
        return sum(line.score for line in answer.lines) / len(answer.lines) if answer.lines else None

    def marks(self, answer: Text) -> list[Mark]:
        """Its lines."""
        return [Mark(line.text, line.score, line.box) for line in answer.lines]

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:  # noqa: ARG002 - as the others
        """The text."""
        return [{"generated_text": answer["text"]} for answer in answers]


def _around(corners: np.ndarray) -> Box:
    """The rectangle around four corners (4, 2)."""
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    return Box(int(max(0, low[0])), int(max(0, low[1])), int(high[0]), int(high[1]))
