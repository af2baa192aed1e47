"""What this machine says about itself: folders, ports, addresses. Read from `TREADLE_*` environment variables.

Projects never hold such facts. Nothing is created or contacted on import or on construction.
"""

from __future__ import annotations

import ipaddress
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parent.parent

TELEMETRY_OFF = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class Settings(BaseSettings):
    """Settings of one installation; every field can be set as `TREADLE_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="TREADLE_", frozen=True, use_attribute_docstrings=True)

    home: Path = CHECKOUT
    """The folder that holds `projects/`, `mlruns/` and `.treadle/`."""
    host: str = "127.0.0.1"
    """The address that the service listens on. Prefect and MLflow ask for no key, so they never leave loopback."""
    allowed_hosts: str = ""
    """Names under which callers may reach the service, separated by commas, besides those of loopback and the host."""
    api_port: int = Field(default=8000, ge=1, le=65535)
    """Port of the API and the console page."""
    prefect_port: int = Field(default=4200, ge=1, le=65535)
    """Port of the Prefect server."""
    mlflow_port: int = Field(default=5000, ge=1, le=65535)
    """Port of the MLflow server."""
    ledger_url: str | None = None
    """SQLAlchemy URL of the ledger; `None` is SQLite in WAL mode at `.treadle/ledger.db`."""
    ledger_durability: Literal["normal", "full"] = "normal"
    """SQLite `synchronous`: `normal` survives kill -9, `full` survives a power cut as well."""
    ledger_retention_days: float | None = None
    """Predictions that arrived longer ago are removed by the watch flow, and not learned from any more; `None` keeps all."""
    mlflow_tracking_uri: str | None = None
    """MLflow tracking and registry URI; `None` is SQLite at `mlruns/mlflow.db`."""
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    """Largest request body that the API reads."""
    max_rows: int = Field(default=10_000, ge=1)
    """Most rows in one predict or feedback request."""
    max_stream_bytes: int = Field(default=256 * 1024 * 1024, ge=1024)
    """Largest Arrow or Parquet body, which waits on disk; also the most characters of text that one may hold when it is read."""
    max_stream_rows: int = Field(default=1_000_000, ge=1)
    """Most rows in one Arrow or Parquet body."""
    most_requests: int = Field(default=256, ge=1)
    """Requests that one worker has under way at once, besides small ones; more are refused with 503."""
    most_received_bytes: int = Field(default=256 * 1024 * 1024, ge=1024)
    """Bytes of unanswered bodies that one worker holds at once; more are refused with 503."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that answer requests, behind one port."""
    headers_s: float = Field(default=15.0, gt=0)
    """Seconds in which a request's headers must arrive, counted from its first byte, or from the connection."""
    message_s: float = Field(default=40.0, gt=0)
    """Seconds in which a whole request must arrive."""
    hang_s: float = Field(default=20.0, gt=0)
    """A worker that gives no sign of life for so long is killed and replaced, seconds."""
    reuse_port: bool = False
    """Let several services of this machine listen on the same port (SO_REUSEPORT)."""
    drain_s: float = Field(default=1.0, ge=0)
    """Between readyz's first 503 and the closing of the port, when the service is asked to end, seconds."""
    swap_poll_s: float = Field(default=0.5, gt=0)
    """How often the service looks for a new champion, seconds."""
    proof_s: float = Field(default=10.0, gt=0)
    """Seconds in which a new version must answer its proof, in a process of its own, before it may serve."""
    isolated_memory_bytes: int = Field(default=1024 * 1024 * 1024, ge=256 * 1024 * 1024)
    """Memory that such a process may have, over and above four times the model's size."""
    bake_s: float = Field(default=600.0, ge=0)
    """For so long after a promotion the champion before stays in memory, to answer where the new one fails, seconds."""
    idle_s: float = Field(default=3600.0, gt=0)
    """A model that nobody asked for so long leaves the service's memory until somebody does, seconds."""
    ready_memory_mb: int = Field(default=2048, ge=256)
    """Memory that all ready models of the service may have together; those unused for longest leave first."""
    ready_idle_s: float = Field(default=600.0, gt=0)
    """A ready model that nobody asks for so long leaves memory, seconds."""
    ready_run_s: float = Field(default=60.0, gt=0)
    """Seconds in which a ready model must have read and answered a request; then its process is killed."""
    ready_job_s: float = Field(default=3600.0, gt=0)
    """The same for a job, which runs in the background."""
    ready_inputs: int = Field(default=64, ge=1)
    """Most inputs in one request to a ready model."""
    ready_upload_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Largest file that a ready model reads."""
    ready_characters: int = Field(default=100_000, ge=1)
    """Longest text that a ready model reads."""
    ready_pixels: int = Field(default=50_000_000, ge=1)
    """Most pixels of one picture, looked at before it is decoded."""
    ready_sound_s: float = Field(default=1800.0, gt=0)
    """Longest sound that is decoded, seconds."""
    ready_url_hosts: str = ""
    """Hosts from which inputs may be fetched by URL, separated by commas; empty allows no URL at all."""
    retrain_lease_s: float = Field(default=90.0, gt=0)
    """A retrain that has not beaten its heart for so long is taken for dead, seconds."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much the servers and commands write to standard error."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """The form of the service's log: `auto` is text on a terminal, else one JSON object a line."""
    otel_endpoint: str | None = None
    """Base URL of an OpenTelemetry collector (OTLP over HTTP) that gets the service's traces; needs the extra `telemetry`."""
    alert_urls: SecretStr | None = None
    """Apprise URLs of the channels that alerts go to, separated by spaces. They hold secrets: see docs/alerts.md."""
    alert_channels: Path | None = None
    """The file of named channels, which only its owner may read; `None` is `.treadle/channels.yaml`."""
    alert_s: float = Field(default=5.0, gt=0)
    """For so long a look waits for its alerts to be delivered; what is not by then is delivered later, seconds."""

    @property
    def projects_dir(self) -> Path:
        """Folder of the projects, one folder each."""
        return self.home / "projects"

    @property
    def state_dir(self) -> Path:
        """Folder of what this machine keeps and git does not: ledger, snapshots, logs, reports."""
        return self.home / ".treadle"

    @property
    def mlruns_dir(self) -> Path:
        """Folder of MLflow's database, its artifacts and the serving bundles."""
        return self.home / "mlruns"

    @property
    def bundles_dir(self) -> Path:
        """Folder of the serving bundles, `<model>/<version>/`."""
        return self.mlruns_dir / "bundles"

    @property
    def ready_dir(self) -> Path:
        """Folder of ready models: what was downloaded, what was made of it, jobs, collections."""
        return self.state_dir / "ready"

    @property
    def journal_dir(self) -> Path:
        """Folder of answers on their way into the ledger."""
        return self.state_dir / "journal"

    @property
    def reports_dir(self) -> Path:
        """Folder of the HTML reports that the console serves, `<project>/…`."""
        return self.state_dir / "reports"

    @property
    def channels_file(self) -> Path:
        """The file of the channels that alerts go to."""
        return self.alert_channels or self.state_dir / "channels.yaml"

    @property
    def ledger(self) -> str:
        """The ledger's SQLAlchemy URL."""
        return self.ledger_url or f"sqlite:///{self.state_dir / 'ledger.db'}"

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI: the database itself, since HTTP costs 100 ms a nested run."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.mlruns_dir / 'mlflow.db'}"

    @cached_property
    def ports(self) -> dict[str, int]:
        """Ports of `api`, `prefect` and `mlflow`: those of the platform that runs from this home, else the settings'."""
        chosen = {"api": self.api_port, "prefect": self.prefect_port, "mlflow": self.mlflow_port}
        try:
            running = json.loads((self.state_dir / "ports.json").read_text())
        except (OSError, ValueError):
            return chosen
        return chosen | running

    @property
    def api_url(self) -> str:
        """Base URL of the API."""
        return f"http://{self.reach}:{self.ports['api']}"

    @property
    def prefect_url(self) -> str:
        """Base URL of the Prefect UI; its API is below `/api`."""
        return f"http://{self.inner_host}:{self.ports['prefect']}"

    @property
    def mlflow_url(self) -> str:
        """Base URL of the MLflow UI."""
        return f"http://{self.inner_host}:{self.ports['mlflow']}"

    @property
    def reach(self) -> str:
        """The address under which this machine reaches its own servers."""
        return "127.0.0.1" if self.host == "0.0.0.0" else self.host  # noqa: S104

    @property
    def inner_host(self) -> str:
        """The address that Prefect and MLflow listen on."""
        return self.host if self.is_loopback else "127.0.0.1"

    @property
    def is_loopback(self) -> bool:
        """Whether the servers can only be reached from this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def environment(self) -> dict[str, str]:
        """Environment for a child process: this one's, telemetry off, this home, its own Prefect profile and API."""
        return (
            dict(os.environ)
            | TELEMETRY_OFF
            | {
                "TREADLE_HOME": str(self.home),
                "PREFECT_HOME": str(self.state_dir / "prefect"),
                "PREFECT_API_URL": f"{self.prefect_url}/api",
                "MLFLOW_TRACKING_URI": self.tracking_uri,
            }
        )


def quiet_telemetry() -> None:
    """Turn every library's telemetry off for this process, unless the user turned it on by hand."""
    for name, value in TELEMETRY_OFF.items():
        os.environ.setdefault(name, value)
