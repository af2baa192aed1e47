"""The model registry: versions, their bundles, and the aliases. The only code that talks to MLflow's registry.

The ledger's champion row is the truth. MLflow's alias is set after it, and mended when a crash fell in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from treadle.bundle import Manifest, write_bundle
from treadle.ledger import Champion, Ledger, Version
from treadle.onnx_guard import refuse_what_reaches_out
from treadle.project import check_name
from treadle.settings import Settings
from treadle.signing import signer
from treadle.tracking import client
from treadle.trust import begin_signing


@dataclass(frozen=True)
class Candidate:
    """What a turn of the wheel brings to the registry."""

    run_id: str
    model_uri: str
    family: str
    params: dict[str, Any]
    metrics: dict[str, float]
    onnx_bytes: bytes
    manifest: Manifest
    data_until: datetime | None
    tags: dict[str, str]


class Registry:
    """The registry of one installation."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger

    def register(self, name: str, candidate: Candidate) -> int:
        """Make a version: in MLflow, as a signed bundle on disk, and last in the ledger.

        A crash on the way leaves an MLflow version that no alias and no ledger row names.

        Returns:
            The version's number.
        """
        refuse_what_reaches_out(candidate.onnx_bytes)
        begin_signing(self.settings, self.ledger)
        mlflow = client(self.settings)
        self._ensure_model(check_name(name))
        made = mlflow.create_model_version(
            name, candidate.model_uri, run_id=candidate.run_id, tags={"family": candidate.family, **candidate.tags}
        )
        version = int(made.version)
        folder = self.settings.bundles_dir / name / str(version)
        manifest = msgspec.structs.replace(candidate.manifest, version=version)
        digest = write_bundle(folder, candidate.onnx_bytes, manifest, signer(self.settings))
        mlflow.set_model_version_tag(name, str(version), "bundle_digest", digest)
        self.ledger.add_version(
            Version(
                name, version, candidate.run_id, str(folder.relative_to(self.settings.home)), digest,
                candidate.family, candidate.params, candidate.metrics, candidate.data_until,
            )
        )  # fmt: skip
        mlflow.set_registered_model_alias(name, "challenger", str(version))
        return version

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            client(self.settings).create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def promote(self, name: str, version: int, expected: int | None, **record: Any) -> Champion:
        """Compare-and-swap in the ledger, then MLflow's aliases.

        Raises:
            Conflict: Another champion came first.
        """
        champion = self.ledger.promote(name, version, expected, **record)
        self.publish(name)
        return champion

    def rollback(self, name: str, reason: str) -> Champion:
        """Restore the previous champion.

        Raises:
            NotFound: There is none.
        """
        champion = self.ledger.rollback(name, reason)
        self.publish(name)
        return champion

    def publish(self, name: str) -> None:
        """Make MLflow's aliases `champion` and `previous` say what the ledger says."""
        champion = self.ledger.champion(name)
        if champion is None:
            return
        mlflow = client(self.settings)
        aliases = self._aliases(name)
        wanted = {"champion": champion.version, "previous": champion.previous}
        for alias, version in wanted.items():
            if version is not None and aliases.get(alias) != version:
                mlflow.set_registered_model_alias(name, alias, str(version))
        if aliases.get("challenger") == champion.version:
            mlflow.delete_registered_model_alias(name, "challenger")

    def _aliases(self, name: str) -> dict[str, int]:
        from mlflow.exceptions import MlflowException

        try:
            found = client(self.settings).get_registered_model(name).aliases
        except MlflowException:
            return {}
        return {alias: int(version) for alias, version in found.items()}

    def repair(self) -> list[str]:
        """Set every alias that a crash left behind.

        Returns:
            What was mended, a sentence each.
        """
        mended = self.drifted_aliases()
        for name in self.ledger.champions():
            self.publish(name)
        return mended

    def drifted_aliases(self) -> list[str]:
        """Aliases in MLflow that do not say what the ledger says, a sentence each."""
        said = []
        for name, champion in self.ledger.champions().items():
            alias = self._aliases(name).get("champion")
            if alias != champion.version:
                said.append(
                    f"MLflow's alias '{name}@champion' is at version {alias}, but version {champion.version} serves; "
                    f"`treadle promote {name} {alias or champion.version}` settles it."
                )
        return said

    def challenger(self, name: str) -> int | None:
        """The version that waits."""
        return self._aliases(name).get("challenger")

    def champion_recipe(self, name: str) -> dict[str, Any] | None:
        """Family and parameters of the champion, from which a retrain starts."""
        champion = self.ledger.champion(name)
        version = self.ledger.version(name, champion.version) if champion else None
        return {"family": version.family, "params": version.params} if version else None

    def versions(self, name: str | None = None) -> list[dict[str, Any]]:
        """Versions with their aliases, newest first."""
        aliases: dict[str, dict[int, list[str]]] = {}
        rows = []
        for version in self.ledger.versions(name):
            if version.model not in aliases:
                aliases[version.model] = {}
                for alias, number in self._aliases(version.model).items():
                    aliases[version.model].setdefault(number, []).append(alias)
            rows.append(
                {
                    "name": version.model,
                    "version": version.version,
                    "aliases": sorted(aliases[version.model].get(version.version, [])),
                    "family": version.family,
                    "metrics": version.metrics,
                    "run_id": version.run_id,
                    "created": version.created.isoformat(),
                }
            )
        return rows

    def forget(self, name: str) -> None:
        """Remove a model's aliases, ledger rows and evidence; MLflow's runs and versions stay."""
        from treadle.evidence import Evidence

        for alias in self._aliases(name):
            client(self.settings).delete_registered_model_alias(name, alias)
        self.ledger.forget(name)
        Evidence(self.settings, name).forget()
