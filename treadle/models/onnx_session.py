"""Opens ONNX models on the CPU, for whoever runs one: serving, the watch, ready models. Needs nothing but onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ERRORS_ONLY = 3


def open_session(model: bytes | Path, threads: int = 1) -> Any:
    """An onnxruntime session.

    Args:
        model: The model, or where it is.
        threads: For one run; requests that run beside each other would only contend for more than one.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
