"""The versions of models, which of them is champion, and the lease to train one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from treadle.errors import Conflict
from treadle.ledger import champions as champion_rows
from treadle.ledger.records import Champion, Lease, Promotion, Version, from_us, to_us
from treadle.ledger.store import Store
from treadle.ledger.tables import versions


class Versions(Store):
    """Versions, champions and leases."""

    def add_version(self, version: Version) -> None:
        """Record a registered version.

        Raises:
            Conflict: It is there already.
        """
        values = {
            "model": version.model, "version": version.version, "run_id": version.run_id, "bundle": version.bundle,
            "digest": version.digest, "family": version.family, "params": json.dumps(version.params),
            "metrics": json.dumps(version.metrics), "created_us": to_us(version.created),
            "data_until_us": to_us(version.data_until) if version.data_until else None,
        }  # fmt: skip
        try:
            with self.engine.begin() as connection:
                connection.execute(insert(versions).values(**values))
        except IntegrityError as error:
            raise Conflict(f"Version {version.version} of '{version.model}' is registered already.") from error

    def remove_version(self, model: str, version: int, who: str = "flow") -> None:
        """Delete a version's record; see `treadle.ledger.champions.remove_version`."""
        champion_rows.remove_version(self.engine, model, version, who)
        self.keep_anchor()

    def version(self, model: str, version: int) -> Version | None:
        """One version's record."""
        found = self._versions(versions.c.model == model, versions.c.version == version)
        return found[0] if found else None

    def versions(self, model: str | None = None) -> list[Version]:
        """All versions of a model, or of all models, newest first."""
        return self._versions(*([versions.c.model == model] if model is not None else []))

    def _versions(self, *conditions: Any) -> list[Version]:
        query = select(versions).where(*conditions).order_by(versions.c.model, versions.c.version.desc())
        with self.engine.connect() as connection:
            return [
                Version(
                    r.model, r.version, r.run_id, r.bundle, r.digest, r.family, json.loads(r.params),
                    json.loads(r.metrics), from_us(r.data_until_us) if r.data_until_us is not None else None,
                    from_us(r.created_us),
                )
                for r in connection.execute(query)
            ]  # fmt: skip

    def champion(self, model: str) -> Champion | None:
        """The champion, `None` before the first promotion."""
        return champion_rows.read_champion(self.engine, model)

    def last_promotion(self, model: str) -> Promotion | None:
        """How the champion became it, `None` before the first."""
        return champion_rows.read_promotion(self.engine, model)

    def champions(self) -> dict[str, Champion]:
        """Every model's champion."""
        row = champion_rows.champions.c
        with self.engine.connect() as connection:
            found = connection.execute(select(row.model, row.version, row.previous, row.fence))
            return {model: Champion(*rest) for model, *rest in found}

    def promote(
        self,
        model: str,
        version: int,
        expected: int | None,
        *,
        verdict: str = "promoted",
        reason: str,
        figures: dict[str, Any] | None = None,
        at: datetime | None = None,
        lease_fence: int | None = None,
        who: str = "flow",
    ) -> Champion:
        """Compare-and-swap the champion; see `treadle.ledger.champions.swap_champion`."""
        champion = champion_rows.swap_champion(
            self.engine, model, version, expected, verdict=verdict, reason=reason, figures=figures or {},
            at=at or datetime.now(UTC), lease_fence=lease_fence, who=who,
        )  # fmt: skip
        self.keep_anchor()
        return champion

    def rollback(self, model: str, reason: str = "by hand", at: datetime | None = None, who: str = "flow") -> Champion:
        """Restore the champion before this one."""
        champion = champion_rows.swap_back(self.engine, model, reason, at or datetime.now(UTC), who)
        self.keep_anchor()
        return champion

    def acquire(self, model: str, holder: str, at: datetime, lease_s: float) -> Lease | None:
        """Take the model's train lease; `None` while another holds it."""
        return champion_rows.acquire(self.engine, model, holder, at, lease_s)

    def beat(self, lease: Lease) -> bool:
        """Prolong a lease; False if it was taken over."""
        return champion_rows.beat(self.engine, lease)

    def release(self, lease: Lease) -> None:
        """Give a lease back."""
        champion_rows.release(self.engine, lease)

    def in_flight(self, model: str) -> bool:
        """Whether a train run of the model holds its lease."""
        return champion_rows.in_flight(self.engine, model)
