"""BentoML with adaptive batching: `bentoml serve benchmarks.servers.bento:Wide`; BENCH_PIPELINE names the pipeline."""

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1, traffic={"timeout": 60})
class Wide:
    """One pipeline."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["BENCH_PIPELINE"])

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=4000, max_latency_ms=60_000)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Predict the rows of several requests at once; a data frame as the argument makes BentoML 1.4.39 raise."""
        return self.pipeline.predict(pd.DataFrame(rows)).tolist()  # type: ignore[no-any-return]
