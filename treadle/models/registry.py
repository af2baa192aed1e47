"""The model registry: versions, their bundles, and the aliases. The only code that talks to MLflow's registry.

The ledger's champion row is the truth. MLflow's alias is set after it, and mended when a crash fell in between.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from treadle.errors import Conflict, Unavailable
from treadle.ledger import Champion, Ledger, Version
from treadle.models.bundle import Manifest, Packed, write_bundle
from treadle.models.evidence import Evidence
from treadle.models.onnx_guard import refuse_what_reaches_out
from treadle.models.signing import signer
from treadle.models.tracking import client, log_text, set_tags
from treadle.models.trust import begin_signing
from treadle.project import check_name
from treadle.settings import Settings

FENCE = "treadle.fence"  # tag on MLflow's registered model: the ledger's fence when its aliases were last set
STALE_S = 3600  # a bundle is written in seconds; what is still half-written after so long never will be


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
    packed: Packed | None = None


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
        if candidate.packed is not None:
            refuse_what_reaches_out(candidate.packed.onnx_bytes)
        begin_signing(self.settings, self.ledger)
        self._ensure_model(check_name(name))
        with _outages_told():
            mlflow = client(self.settings)
            version = self._new_number(name, candidate)
            folder = self.settings.bundles_dir / name / str(version)
            manifest = msgspec.structs.replace(candidate.manifest, version=version)
            digest = write_bundle(folder, candidate.onnx_bytes, manifest, signer(self.settings), candidate.packed)
            mlflow.set_model_version_tag(name, str(version), "bundle_digest", digest)
            self.ledger.add_version(
                Version(
                    name, version, candidate.run_id, str(folder.relative_to(self.settings.home)), digest,
                    candidate.family, candidate.params, candidate.metrics, candidate.data_until,
                )
            )  # fmt: skip
            mlflow.set_registered_model_alias(name, "challenger", str(version))
        return version

    def _new_number(self, name: str, candidate: Candidate) -> int:
        """Make the version in MLflow. A number that the ledger or a bundle has is left out.

        MLflow counts from 1 again when somebody deletes the model there, and version 1 may be what serves.
        """
        mlflow, model_id = client(self.settings), candidate.model_uri.rpartition("/")[2]
        taken = {version.version for version in self.ledger.versions(name)}
        taken |= {int(path.name) for path in (self.settings.bundles_dir / name).glob("*") if path.name.isdecimal()}
        while True:
            made = mlflow.create_model_version(
                name,
                candidate.model_uri,
                run_id=candidate.run_id,
                tags={"family": candidate.family, **candidate.tags},
                model_id=model_id,
            )
            if int(made.version) > max(taken, default=0):
                break
            mlflow.delete_model_version(name, made.version)
        here = json.dumps([{"name": name, "version": made.version}])
        mlflow.set_logged_model_tags(model_id, {"mlflow.modelVersions": here})  # the UI links the run to the version
        return int(made.version)

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        with _outages_told():
            try:
                client(self.settings).create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise

    def promote(self, name: str, version: int, expected: int | None, **record: Any) -> Champion:
        """Compare-and-swap in the ledger, then MLflow's aliases; if MLflow is out, `repair` sets them later.

        Raises:
            NotFound: There is no such version.
            Conflict: Another champion came first.
        """
        champion = self.ledger.promote(name, version, expected, **record)
        self._publish_now_or_later(name)
        return champion

    def rollback(self, name: str, reason: str, who: str = "flow") -> Champion:
        """Restore the previous champion.

        Raises:
            NotFound: There is none.
        """
        champion = self.ledger.rollback(name, reason, who=who)
        self._publish_now_or_later(name)
        return champion

    def _publish_now_or_later(self, name: str) -> None:
        """The promotion stands in the ledger: an outage of MLflow must not make it look like a failure."""
        try:
            self.publish(name)
        except Unavailable as error:
            logging.getLogger(__name__).warning("%s serves; its aliases in MLflow are set later: %s", name, error)

    def delete(self, name: str, version: int, who: str = "flow") -> None:
        """Delete a version that nothing points at: its ledger row, its bundle, its evidence, and it in MLflow.

        Raises:
            NotFound: There is none.
            Conflict: It is the champion, the one before, or an alias in MLflow points at it.
        """
        held = [alias for alias, number in self._state(check_name(name))[0].items() if number == version]
        if held:
            raise Conflict(
                f"Version {version} of '{name}' is {', '.join(sorted(held))}; move the alias before deleting it."
            )
        self.ledger.remove_version(name, version, who)
        shutil.rmtree(self.settings.bundles_dir / name / str(version), ignore_errors=True)
        shutil.rmtree(Evidence(self.settings, name).of(version), ignore_errors=True)
        with _outages_told():
            if self._in_mlflow(name, version):
                client(self.settings).delete_model_version(name, str(version))

    def publish(self, name: str) -> None:
        """Make MLflow's aliases `champion` and `previous` say what the ledger says.

        Raises:
            Unavailable: MLflow is out.
        """
        told = None
        while (champion := self.ledger.champion(name)) != told and champion is not None:
            with _outages_told():
                self._set_aliases(name, champion)
            told = champion  # look again: whoever promoted meanwhile may have set the aliases before this did

    def follow(self, name: str) -> None:
        """Publish a champion that was made elsewhere: the service ends releases by itself. Leaves what people did by hand.

        Raises:
            Unavailable: MLflow is out.
        """
        champion = self.ledger.champion(name)
        if champion is not None and self._state(name)[1] != champion.fence:
            self.publish(name)

    def _set_aliases(self, name: str, champion: Champion) -> None:
        if not self._in_mlflow(name, champion.version):
            return  # deleted there by hand: `drifted_aliases` says so
        mlflow = client(self.settings)
        aliases, _ = self._state(name)
        for alias, version in (("champion", champion.version), ("previous", champion.previous)):
            if version is not None and self._in_mlflow(name, version):
                if aliases.get(alias) != version:
                    mlflow.set_registered_model_alias(name, alias, str(version))
            elif alias in aliases:
                mlflow.delete_registered_model_alias(name, alias)
        if aliases.get("challenger") == champion.version:
            mlflow.delete_registered_model_alias(name, "challenger")
        mlflow.set_registered_model_tag(name, FENCE, str(champion.fence))

    def _state(self, name: str) -> tuple[dict[str, int], int | None]:
        """What MLflow says: aliases, and the fence at which they were last set from here."""
        from mlflow.exceptions import MlflowException

        with _outages_told():
            try:
                found = client(self.settings).get_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return {}, None
        fence = found.tags.get(FENCE)
        return {alias: int(version) for alias, version in found.aliases.items()}, int(fence) if fence else None

    def _in_mlflow(self, name: str, version: int) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            client(self.settings).get_model_version(name, str(version))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True

    def repair(self) -> list[str]:
        """Finish what a crash cut short: aliases behind the ledger, bundles half-written. Leaves what people did by hand.

        Returns:
            What was mended, a sentence each.
        """
        mended = []
        for name, champion in self.ledger.champions().items():
            aliases, fence = self._state(name)
            if fence == champion.fence:
                continue
            self.publish(name)
            if aliases.get("champion") != self._state(name)[0].get("champion"):
                mended.append(f"MLflow's alias '{name}@champion' is at version {champion.version} now, which serves.")
        for left in self.settings.bundles_dir.glob("*/.bundle-*"):
            if time.time() - left.stat().st_mtime > STALE_S:
                shutil.rmtree(left, ignore_errors=True)
                mended.append(f"{left} was half-written and is removed.")
        return mended

    def drifted_aliases(self) -> list[str]:
        """Champion aliases in MLflow that do not say what the ledger says, a sentence each with the way out."""
        return [said for name, champion in self.ledger.champions().items() if (said := self._say_drift(name, champion))]

    def _say_drift(self, name: str, champion: Champion) -> str | None:
        aliases, fence = self._state(name)
        alias, serving = aliases.get("champion"), champion.version
        if alias == serving:
            return None
        with _outages_told():
            if not self._in_mlflow(name, serving):
                return (
                    f"Version {serving} serves '{name}' from its bundle, but was deleted in MLflow; "
                    f"`treadle train {name}` makes another."
                )
        back = f"`treadle promote {name} {serving}` sets it"
        if fence == champion.fence and alias is not None and self.ledger.version(name, alias):
            back += f" back, `treadle promote {name} {alias}` makes version {alias} serve"
        place = "missing" if alias is None else f"at version {alias}"
        return f"MLflow's alias '{name}@champion' is {place}, but version {serving} serves; {back}."

    def challenger(self, name: str) -> int | None:
        """The version that waits."""
        return self._state(name)[0].get("challenger")

    def champion_recipe(self, name: str) -> dict[str, Any] | None:
        """Family and parameters of the champion, from which a retrain starts."""
        champion = self.ledger.champion(name)
        version = self.ledger.version(name, champion.version) if champion else None
        return {"family": version.family, "params": version.params} if version else None

    def fetch_model(self, name: str, version: int, folder: Path) -> Path | None:
        """Copy the fitted pipeline of a version, a skops file that MLflow keeps, into a folder; `None` where it is there no more.

        Raises:
            Unavailable: MLflow cannot be reached.
        """
        client(self.settings)
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        with _outages_told():
            try:
                found = download_artifacts(artifact_uri=f"models:/{name}/{version}", dst_path=str(folder))
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
        return Path(found) / "model.skops"

    def versions(self, name: str | None = None) -> list[dict[str, Any]]:
        """Versions with their aliases, newest first."""
        aliases: dict[str, dict[int, list[str]]] = {}
        rows = []
        for version in self.ledger.versions(name):
            if version.model not in aliases:
                aliases[version.model] = {}
                for alias, number in self._state(version.model)[0].items():
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

    def note_look(self, name: str, version: int, tags: dict[str, str], page: str) -> None:
        """Show the newest look at a version beside the run that made it: tags, and its page among the artifacts.

        A run that somebody deleted in MLflow is left alone.

        Raises:
            Unavailable: MLflow is out.
        """
        from mlflow.exceptions import MlflowException

        row = self.ledger.version(name, version)
        if row is None:
            return
        with _outages_told():
            try:
                set_tags(self.settings, row.run_id, tags)
                log_text(self.settings, row.run_id, page, "last-look.html")
            except MlflowException as error:
                if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    raise

    def forget(self, name: str, who: str = "flow") -> None:
        """Remove a model's aliases, ledger rows and evidence; MLflow's runs and versions stay."""
        aliases, fence = self._state(name)
        with _outages_told():
            for alias in aliases:
                client(self.settings).delete_registered_model_alias(name, alias)
            if fence is not None:
                client(self.settings).delete_registered_model_tag(name, FENCE)
        self.ledger.forget(name, who)
        Evidence(self.settings, name).forget()


@contextmanager
def _outages_told() -> Iterator[None]:
    """Turn an outage of MLflow into an error of ours; anything else that it raises is a fault and stays one."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in {"TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR"}:
            raise
        raise Unavailable(f"MLflow's registry cannot be used now: {' '.join(str(error).split())[:200]}") from error
