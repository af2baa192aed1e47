"""Answers requests: the FastAPI service, its guards, the ONNX runtime and hot swap. Needs no training library."""
