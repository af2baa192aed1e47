"""A batch of n rows gets the answers of n requests of a row each: every family, every problem, by the real service."""

import asyncio
from datetime import datetime

import httpx
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treadle.families import FAMILIES, load_family
from treadle.problems import PROBLEMS, load_problem

SMALL = {"gradient-boosting": {"rounds": 30}, "forest": {"trees": 10}, "mlp": {"epochs": 2}}
SUMMED_OTHERWISE = ("linear", "mlp")
"""onnxruntime adds the float32 products of one row in another order than those of many; trees are bit-equal."""
CASES = [(family, problem) for family in FAMILIES for problem in PROBLEMS if problem in load_family(family).problems]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "size": st.one_of(st.none(), st.floats(-1e3, 1e3), st.integers(-1000, 1000)),
            "serial": st.one_of(st.none(), st.floats(0, 1e13)),
            "member": st.one_of(st.none(), st.booleans()),
            "plan": st.one_of(st.none(), st.sampled_from(["basic", "plus", "pro"]), st.text(max_size=9)),
            "when": st.one_of(
                st.none(), st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)).map(datetime.isoformat)
            ),
        }
    ),
    min_size=2,
    max_size=40,
)


@pytest.fixture(scope="module")
def address(module_home, fit_toy, serve):
    """The service of all families."""
    for family, problem in CASES:
        fitted = fit_toy(name_of(family, problem), problem, family, SMALL.get(family, {}))
        module_home.add(msgspec.structs.replace(fitted.manifest, version=1), fitted.onnx_bytes, fitted.packed)
        module_home.promote(fitted.manifest.model)
    with serve(module_home.settings) as (_, address):
        yield address


def name_of(family, problem):
    return f"{family}-{load_problem(problem).name.removeprefix('tabular-')}"


def answers(reply):
    assert reply.status_code == 200, reply.text
    rows = reply.json()["predictions"]
    if "probabilities" in rows[0]:
        return [list(row["probabilities"].values()) for row in rows], [row["prediction"] for row in rows]
    return [row["prediction"] for row in rows], None


@pytest.mark.parametrize(("family", "problem"), CASES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_a_batch_is_answered_as_its_rows_alone(address, family, problem, rows):
    async def ask():
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            path = f"/v1/models/{name_of(family, problem)}/predict"
            whole = await client.post(path, json={"rows": rows})
            alone = [await client.post(path, json={"rows": [row]}) for row in rows]
            beside = await asyncio.gather(*(client.post(path, json={"rows": [row]}) for row in rows))
            return whole, alone, beside

    whole, alone, beside = asyncio.run(ask())
    numbers, classes = answers(whole)
    for singles in (alone, beside):
        read = [answers(reply) for reply in singles]
        single, batch = np.array([row[0][0] for row in read]), np.array(numbers)
        if family in SUMMED_OTHERWISE:
            np.testing.assert_allclose(single, batch, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(single, batch)
        if classes:
            assert [row[1][0] for row in read] == classes
