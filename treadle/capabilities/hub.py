"""Models of the Hugging Face form, run by `transformers.pipeline`: from a folder, never from the network, never with its code."""

from __future__ import annotations

from typing import Any

from treadle.capabilities.protocol import Weights
from treadle.capabilities.sources import missing_guest


def open_pipeline(task: str, weights: Weights, **options: Any) -> Any:
    """A pipeline on a model that is here.

    Args:
        task: As Transformers names it.
        weights: A model with `runtime: transformers`.
        options: For `transformers.pipeline`.

    Raises:
        NotInstalled: Transformers or PyTorch is not here.
    """
    try:
        import torch
        import transformers
    except ImportError:
        raise missing_guest("torch and transformers", "language") from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_grad_enabled(False)
    return transformers.pipeline(
        task,  # type: ignore[arg-type] - a task of its own list
        model=str(weights.folder),
        device="cpu",
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
        **options,
    )


def open_generator(weights: Weights, kind: str) -> tuple[Any, Any]:
    """The tokenizer and the model of what writes texts, which Transformers has no pipeline for, or none that streams.

    Args:
        weights: A model with `runtime: transformers`.
        kind: `AutoModelForCausalLM` or `AutoModelForSeq2SeqLM`.

    Raises:
        NotInstalled: Transformers or PyTorch is not here.
    """
    try:
        import torch
        import transformers
    except ImportError:
        raise missing_guest("torch and transformers", "language") from None
    transformers.utils.logging.set_verbosity_error()
    torch.set_grad_enabled(False)
    here: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights.folder, **here)
    model = getattr(transformers, kind).from_pretrained(weights.folder, use_safetensors=True, **here)
    return tokenizer, model.eval()
