"""LitServe with batches of at most 64 requests: `python -m benchmarks.servers.lit PORT PIPELINE`."""

import sys
from typing import Any

import joblib
import litserve
import pandas as pd


class Wide(litserve.LitAPI):
    """One pipeline."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's own signature
        """Load it."""
        self.pipeline = joblib.load(sys.argv[2])

    def decode_request(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows of one request."""
        return request["rows"]  # type: ignore[no-any-return]

    def batch(self, inputs: list[list[dict[str, Any]]]) -> tuple[list[int], pd.DataFrame]:
        """The rows of all requests, and how many each one has."""
        return [len(rows) for rows in inputs], pd.DataFrame([row for rows in inputs for row in rows])

    def predict(self, x: tuple[list[int], pd.DataFrame]) -> tuple[list[int], list[float]]:
        """Predict them at once."""
        return x[0], self.pipeline.predict(x[1]).tolist()

    def unbatch(self, output: tuple[list[int], list[float]]) -> list[list[float]]:
        """The answers of each request."""
        answers = iter(output[1])
        return [[next(answers) for _ in range(count)] for count in output[0]]

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """The reply."""
        return {"predictions": output}


if __name__ == "__main__":
    server = litserve.LitServer(Wide(max_batch_size=64, batch_timeout=0.005), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, log_level="warning"
    )
