"""Bad input, over every route that takes rows: refused in one short answer that repeats nothing; nobody else notices."""

from tests.faults.corpus import cases, sample
from tests.faults.mutants import columnar_mutants, mutants


def test_corpus(served, examine, much):
    """bad requests by rule"""
    routes = served[2]
    everything = list(cases(routes))
    assert len(everything) > 2_000
    with examine() as examiner:
        for case in much(sample(routes, 500, seed=1), everything):
            examiner.examine(case)


def test_mutants(served, examine, much):
    """good requests with bytes changed at random"""
    with examine() as examiner:
        for case in mutants(served[2], much(200, 8_000), seed=2):
            examiner.examine(case)


def test_columnar_mutants(served, examine, much):
    """Arrow and Parquet bodies with bytes changed at random"""
    with examine() as examiner:
        for case in columnar_mutants(much(25, 1_500), seed=3):
            examiner.examine(case)
