"""What is ready: pre-trained models behind one API. One file a capability, one line in the table; imported on first use.

Importing this needs neither a model nor a library of one; those are guests of the process that runs them (`child`).
"""

from __future__ import annotations

from importlib import import_module

from treadle.capabilities.protocol import Capability
from treadle.errors import NotFound, nearest

CAPABILITIES = {
    "classify-image": "treadle.capabilities.classify_image:ClassifyImage",
    "zero-shot-classify-image": "treadle.capabilities.zero_shot_classify_image:ZeroShotClassifyImage",
    "detect-objects": "treadle.capabilities.detect_objects:DetectObjects",
    "detect-faces": "treadle.capabilities.detect_faces:DetectFaces",
    "compare-faces": "treadle.capabilities.compare_faces:CompareFaces",
    "search-faces": "treadle.capabilities.search_faces:SearchFaces",
    "analyze-video": "treadle.capabilities.analyze_video:AnalyzeVideo",
    "read-text": "treadle.capabilities.read_text:ReadText",
    "embed-image": "treadle.capabilities.embed_image:EmbedImage",
    "classify-text": "treadle.capabilities.classify_text:ClassifyText",
    "analyze-sentiment": "treadle.capabilities.analyze_sentiment:AnalyzeSentiment",
    "translate": "treadle.capabilities.translate:Translate",
    "generate-text": "treadle.capabilities.generate_text:GenerateText",
    "summarize": "treadle.capabilities.summarize:Summarize",
    "extract-entities": "treadle.capabilities.extract_entities:ExtractEntities",
    "detect-language": "treadle.capabilities.detect_language:DetectLanguage",
    "embed-text": "treadle.capabilities.embed_text:EmbedText",
    "similar-items": "treadle.capabilities.similar_items:SimilarItems",
    "transcribe": "treadle.capabilities.transcribe:Transcribe",
    "detect-speech": "treadle.capabilities.detect_speech:DetectSpeech",
}

__all__ = ["CAPABILITIES", "Capability", "load_capability"]


def load_capability(name: str) -> Capability:
    """The capability of that name, without its model.

    Raises:
        NotFound: There is none; the nearest is suggested.
    """
    if name not in CAPABILITIES:
        raise NotFound(f"No capability of that name.{nearest(name, CAPABILITIES)} `treadle ready` lists them.")
    module, _, attribute = CAPABILITIES[name].partition(":")
    return getattr(import_module(module), attribute)()  # type: ignore[no-any-return]
