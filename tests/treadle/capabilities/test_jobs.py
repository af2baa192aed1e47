"""Jobs are answered in order, go on after a kill, and say why an input or all of them have no answer."""

import pytest

from treadle.capabilities.jobs import Jobs
from treadle.capabilities.sources import NotInstalled
from treadle.errors import NotFound

TEXTS = ["Der Zug nach Wien fährt um neun Uhr.", "   ", "Le train pour Vienne part à neuf heures."]


@pytest.fixture
def pool(make_pool):
    return make_pool()


@pytest.fixture
def jobs(pool):
    return Jobs(pool.settings)


def make(jobs, texts, **changes):
    about = {"capability": "detect-language", "model": None, "parameters": {"top_k": 1}, "key_id": None, "who": "local"}
    return jobs.create(inputs=texts, **about | changes).id


def test_every_input_is_answered_in_order_or_says_why_not(jobs, pool):
    name = make(jobs, TEXTS)
    seen = [(job.done, done is not None) for job, _, done in jobs.answer(name, pool)]
    assert seen == [(1, True), (2, False), (3, True)]
    job = jobs.read(name)
    assert (job.state, job.done, job.inputs) == ("completed", 3, 3)
    first, second, third = jobs.answers(name)
    assert (first["answer"]["language"], third["answer"]["language"]) == ("de", "fr")
    assert first["licence"] == "BSD-3-Clause"
    assert "no text" in second["error"]


def test_a_run_that_was_killed_is_gone_on_with(jobs, pool):
    name = make(jobs, TEXTS)
    running = jobs.answer(name, pool)
    next(running)
    path = jobs._folder / name / "answers.jsonl"
    path.write_bytes(path.read_bytes() + b'{"half of an ans')
    assert len(jobs.answers(name)) == 1
    seen = [job.done for job, _, _ in jobs.answer(name, pool)]
    assert seen == [2, 3]
    assert [set(answer) for answer in jobs.answers(name)][1] == {"error"}


def test_a_model_that_is_not_here_fails_the_job(jobs, pool):
    from treadle.capabilities.catalog import Entry, HubSource, add_entry

    source = HubSource(kind="hub", id="owner/name")
    about = {"capability": "detect-language", "model": "far", "version": "", "licence": "MIT", "size_bytes": 1}
    add_entry(Entry(source=source, runtime="python", **about), pool.settings)
    name = make(jobs, TEXTS, model="far")
    with pytest.raises(NotInstalled):
        list(jobs.answer(name, pool))
    assert jobs.read(name).state == "failed"
    assert "treadle ready install" in jobs.read(name).error


def test_names_that_lead_elsewhere_are_no_jobs(jobs):
    for name in ("../secrets", "", "x" * 32, "0" * 31, "0" * 32):
        with pytest.raises(NotFound):
            jobs.read(name)


def test_jobs_are_forgotten_after_a_week(jobs):
    import os
    import time

    old, new = make(jobs, TEXTS), make(jobs, TEXTS)
    long_ago = time.time() - 8 * 86_400
    os.utime(jobs._folder / old, (long_ago, long_ago))
    make(jobs, TEXTS)
    with pytest.raises(NotFound):
        jobs.read(old)
    assert jobs.read(new).state == "waiting"
