"""What each ready model is asked, by whom, and what is a right answer: on the pictures and sounds of the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import InferenceClient
from openai import OpenAI

from treadle.settings import CHECKOUT

OBAMA, AGAIN = (CHECKOUT / "tests" / "pictures" / f"obama-{name}.jpg" for name in ("2012", "speaking"))
SOUND, SAID = CHECKOUT / "tests" / "sounds" / "austen-0930.flac", "He might even have been made amiable himself."
DRESSED = ("suit, suit of clothes", "Windsor tie", "bow tie, bow-tie, bowtie", "groom, bridegroom")
INVOICE = "Invoice 4711"
RATE = "The central bank raised its key rate by half a point."
NEWS = f"{RATE} It rained. Banks had waited for a higher rate. Loans will cost more. Nobody was late."
GERMAN = "Der Zug nach Wien fährt um neun Uhr."
LIKED = "I love this phone, it is wonderful."
LEFT = "Angela Merkel left for Paris on Monday."
HOUSE = "The house is big."
TOPICS, ITEMS = ["cooking", "interest rates"], ["tax law", "a kitten"]
CAPITAL = "What is the capital of France?"


@dataclass(frozen=True)
class Question:
    """What a capability is asked.

    Attributes:
        given: A text, a file, or files by field.
        right: Whether our own answer is.
        hub: Asks the hub's client: whether its answer is right. `None` where that has no such task.
        openai: The same with OpenAI's client.
        parameters: Of the request, for our own ways.
    """

    given: str | Path | dict[str, Path]
    right: Callable[[dict[str, Any]], bool]
    hub: Callable[[InferenceClient], bool] | None = None
    openai: Callable[[OpenAI], bool] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, Path]:
        """The files by field; none for a text."""
        if isinstance(self.given, dict):
            return self.given
        return {"file": self.given} if isinstance(self.given, Path) else {}


def questions(folder: Path) -> dict[str, Question]:
    """One for each capability that has a default; what is not kept in the repository is made in a folder."""
    film, invoice = make_film(folder / "film.avi"), make_invoice(folder / "invoice.png")
    return {
        "classify-image": Question(
            OBAMA, lambda a: a["label"] in DRESSED, lambda c: c.image_classification(OBAMA)[0].label in DRESSED
        ),
        "detect-objects": Question(
            OBAMA, lambda a: a["objects"][0]["label"] == "person", lambda c: c.object_detection(OBAMA)[0].label == "person"
        ),
        "detect-faces": Question(
            OBAMA, lambda a: len(a["faces"]) == 1, lambda c: [one.label for one in c.object_detection(OBAMA)] == ["face"]
        ),
        "compare-faces": Question({"first": OBAMA, "second": AGAIN}, lambda a: a["same"] is True),
        "search-faces": Question(AGAIN, lambda a: a["faces"][0]["matches"][0]["person"] == "Obama"),
        "analyze-video": Question(film, lambda a: {"person", "face"} <= {one["label"] for one in a["tracks"]}),
        "read-text": Question(
            invoice, lambda a: a["text"] == INVOICE, lambda c: c.image_to_text(invoice).generated_text == INVOICE
        ),
        "embed-image": Question(OBAMA, lambda a: abs(sum(x * x for x in a["embedding"]) - 1) < 1e-4),
        "classify-text": Question(
            RATE, lambda a: a["label"] == TOPICS[1],
            lambda c: c.zero_shot_classification(RATE, candidate_labels=TOPICS)[0].label == TOPICS[1],
            parameters={"labels": TOPICS},
        ),
        "analyze-sentiment": Question(
            LIKED, lambda a: a["label"] == "positive", lambda c: c.text_classification(LIKED)[0].label == "positive"
        ),
        "translate": Question(
            HOUSE, lambda a: "casa" in a["text"],
            lambda c: "casa" in c.translation(HOUSE, src_lang="en", tgt_lang="es").translation_text,
            parameters={"source": "en", "target": "es"},
        ),
        "generate-text": Question(
            CAPITAL, lambda a: "Paris" in a["text"], continues, chats, {"temperature": 0, "max_tokens": 32}
        ),
        "summarize": Question(
            NEWS, lambda a: RATE in a["text"] != NEWS, lambda c: RATE in c.summarization(NEWS).summary_text != NEWS,
            parameters={"sentences": 2},
        ),
        "extract-entities": Question(
            LEFT, lambda a: [one["text"] for one in a["entities"]] == ["Angela Merkel", "Paris", "Monday"],
            lambda c: [one.word for one in c.token_classification(LEFT)] == ["Angela Merkel", "Paris", "Monday"],
        ),
        "detect-language": Question(
            GERMAN, lambda a: a["language"] == "de", lambda c: c.text_classification(GERMAN, top_k=1)[0].label == "de"
        ),
        "embed-text": Question(
            RATE, lambda a: abs(sum(x * x for x in a["embedding"]) - 1) < 1e-4,
            lambda c: c.feature_extraction(RATE).shape == (384,),
            lambda c: len(c.embeddings.create(model="embed-text", input=RATE).data[0].embedding) == 384,
        ),
        "similar-items": Question(
            "a cat", lambda a: a["similar"][0]["item"] == ITEMS[1],
            lambda c: max(scores := c.sentence_similarity("a cat", other_sentences=ITEMS)) == scores[1],
            parameters={"items": ITEMS},
        ),
        "transcribe": Question(
            SOUND, lambda a: a["text"] == SAID, lambda c: c.automatic_speech_recognition(SOUND).text == SAID,
            lambda c: c.audio.transcriptions.create(model="default", file=SOUND).text == SAID,
        ),
        "detect-speech": Question(SOUND, lambda a: 2 < a["speech_s"] < a["seconds"]),
    }  # fmt: skip


def continues(client: InferenceClient) -> bool:
    """Whether a text goes on, token by token."""
    return len(list(client.text_generation("The cat", max_new_tokens=4, stream=True))) > 1


def chats(client: OpenAI) -> bool:
    """Whether a chat is answered."""
    said = client.chat.completions.create(
        model="default", messages=[{"role": "user", "content": CAPITAL}], temperature=0, max_tokens=32
    )
    return "Paris" in str(said.choices[0].message.content)


def make_film(to: Path) -> Path:
    """Two seconds of one photograph, in an AVI of JPEGs."""
    import av
    from PIL import Image

    image = Image.open(OBAMA).convert("RGB").resize((320, 400))
    with av.open(to, "w", format="avi") as made:
        stream: Any = made.add_stream("mjpeg", rate=2)
        stream.width, stream.height, stream.pix_fmt = *image.size, "yuvj420p"
        frames = [av.VideoFrame.from_image(image) for _ in range(4)]
        made.mux([packet for frame in frames for packet in stream.encode(frame)] + stream.encode())
    return to


def make_invoice(to: Path) -> Path:
    """A line of text as a picture."""
    from PIL import Image, ImageDraw, ImageFont

    drawn = Image.new("RGB", (600, 200), "white")
    ImageDraw.Draw(drawn).text((20, 60), INVOICE, fill="black", font=ImageFont.load_default(40))
    drawn.save(to)
    return to
