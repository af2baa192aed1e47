"""What a capability is: typed inputs, parameters and answers, and a model that is loaded once and runs batches.

Four verbs, as LitServe has them (https://lightning.ai/docs/litserve): `load`, `read`, `run`, and msgspec writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from treadle.capabilities.catalog import Entry, Runtime
from treadle.capabilities.limits import BadInput, Limits

if TYPE_CHECKING:
    from treadle.capabilities.boxes import Mark

Kind = Literal["text", "chat", "image", "sound", "video"]
"""What an input, or one field of it, is. In JSON the last three are base64, a chat is a text or a list of messages."""
MEDIA = ("image", "sound", "video")


class Parameters(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What a request may ask for besides its inputs; a capability adds fields with defaults."""


@dataclass(frozen=True)
class Weights:
    """A model that is here.

    Attributes:
        entry: What the catalog says of it.
        folder: Its files, as they came, verified.
        made: What `prepare` made of them.
        limits: Of one request.
        head: A champion of this platform that judges what the model gives; empty for all others.
    """

    entry: Entry
    folder: Path
    made: Path
    limits: Limits
    head: bytes = b""

    @property
    def ready(self) -> Path:
        """The installation's folder of ready models, as `Settings.ready_dir`."""
        return self.made.parent.parent


class Capability(ABC):
    """One ready API. An object without `load` is light: the service has one to read requests and write answers.

    Attributes:
        name: As in the table.
        takes: What one input is; a mapping when it has several fields.
        Parameters: What a request may ask for besides.
        Answer: The answer to one input.
        Piece: One piece of a streamed answer; `None` for what does not stream.
        hub_task: The task of `huggingface_hub.InferenceClient` that it answers, if there is one.
        hub_runtime: What runs a model of the hub, such as one that `treadle ready install --hub` brings.
        example: Parameters of a request that works, for the documentation and the contract suite.
        example_text: An input of such a request, where inputs are texts.
    """

    name: ClassVar[str]
    takes: ClassVar[Kind | Mapping[str, Kind]] = "text"
    Parameters: ClassVar[type[Parameters]] = Parameters
    Answer: ClassVar[type[msgspec.Struct]]
    Piece: ClassVar[type[msgspec.Struct] | None] = None
    hub_task: ClassVar[str | None] = None
    hub_runtime: ClassVar[Runtime] = "transformers"
    example: ClassVar[Mapping[str, Any]] = {}
    example_text: ClassVar[str] = "The train to Vienna leaves at nine o'clock in the morning."

    # In the process that has the model

    def prepare(self, weights: Weights, to: Path) -> None:  # noqa: B027 - most have nothing to prepare
        """Make, once, what `load` needs besides the files, such as an ONNX export; `prepares` says whether there is any.

        Args:
            weights: The model.
            to: An empty folder; `weights.made` in `load`.
        """

    def prepares(self, entry: Entry) -> bool:  # noqa: ARG002 - for those that do
        """Whether this model needs `prepare`."""
        return False

    @abstractmethod
    def load(self, weights: Weights) -> None:
        """Open the model; guests are imported here."""

    @abstractmethod
    def run(self, inputs: Sequence[Any], parameters: Any) -> list[Any]:
        """Answer a batch.

        Args:
            inputs: As `treadle.capabilities.reading.read` gives them: str, Picture, Sound, or a dict of these by field.
            parameters: A `Parameters`.

        Returns:
            One `Answer` for each input, in order.

        Raises:
            BadInput: An input or a parameter cannot be answered.
        """

    def stream(self, given: Any, parameters: Any) -> Iterator[Any]:
        """Answer one input piece by piece; only where `Piece` is not `None`."""
        raise NotImplementedError

    # Anywhere

    def confidence(self, answer: Any) -> float | None:
        """How sure an answer is, 0 to 1, for the ledger; `None` where that means nothing."""
        return getattr(answer, "score", None)

    def found(self, answer: Any) -> int | None:
        """How many things an answer has found, for the ledger; `None` where that means nothing."""
        lists = [value for name in answer.__struct_fields__ if isinstance(value := getattr(answer, name), list)]
        return next((len(some) for some in lists if not some or isinstance(some[0], msgspec.Struct)), None)

    def marks(self, answer: Any) -> list[Mark]:  # noqa: ARG002 - for those that find things
        """What is drawn onto the picture that was asked about; nothing where there is no place to show."""
        return []

    def from_hub(self, inputs: Any, parameters: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """A request of `InferenceClient` as inputs and parameters of ours."""
        return inputs if isinstance(inputs, list) else [inputs], parameters

    def to_hub(self, answers: Sequence[Any], inputs: Any) -> Any:
        """Our answers as `InferenceClient` wants them; `inputs` as they came, so that one stays one."""
        raise NotImplementedError

    def parse(self, parameters: Mapping[str, Any]) -> Any:
        """The `Parameters` of a request; texts of a form are read as what they should be.

        Raises:
            BadInput: One is unknown or of the wrong kind.
        """
        try:
            return msgspec.convert(dict(parameters), self.Parameters, strict=False)
        except msgspec.ValidationError as error:
            raise BadInput(f"parameters: {error}.") from None


def as_softmax(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of one of the hub's classifications, as far as they say more than that scores sum to 1, which ours always do.

    Raises:
        BadInput: They ask for scores that do not.
    """
    kept = dict(parameters)
    if kept.pop("function_to_apply", None) not in (None, "softmax"):
        raise BadInput("function_to_apply can only be softmax.")
    return kept
