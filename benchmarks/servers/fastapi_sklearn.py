"""The usual FastAPI service around a scikit-learn pipeline: `python -m benchmarks.servers.fastapi_sklearn PORT PIPELINE`."""

import sys

import joblib
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

pipeline = joblib.load(sys.argv[2])
app = FastAPI()


class Body(BaseModel):
    """Rows to predict."""

    rows: list[dict[str, float | str]]


@app.post("/predict")
def predict(body: Body) -> dict[str, list[float]]:
    """Predict them."""
    return {"predictions": pipeline.predict(pd.DataFrame(body.rows)).tolist()}


uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
