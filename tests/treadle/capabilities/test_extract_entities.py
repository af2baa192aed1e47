"""Entities by spaCy's small pipeline, in a real process."""

import msgspec
import pytest

from treadle.capabilities.extract_entities import Entities, ExtractEntities
from treadle.capabilities.limits import BadInput

TEXT = "Angela Merkel met Apple in Berlin on Monday and left for Paris."


def find(pool, texts, **parameters):
    _, future = pool.ask("extract-entities", texts, parameters)
    return msgspec.msgpack.decode(future.result(timeout=120).answers, type=list[Entities])


def test_people_places_and_days_are_found_where_they_stand(pool):
    (found,) = find(pool, [TEXT])
    named = {(entity.text, entity.label) for entity in found.entities}
    assert {("Angela Merkel", "PERSON"), ("Berlin", "GPE"), ("Monday", "DATE"), ("Paris", "GPE")} <= named
    assert all(TEXT[entity.start : entity.end] == entity.text for entity in found.entities)


def test_only_the_kinds_that_are_asked_for(pool):
    named, empty = find(pool, [TEXT, "Nothing of note."], labels=["PERSON"])
    assert [(entity.text, entity.label) for entity in named.entities] == [("Angela Merkel", "PERSON")]
    assert empty.entities == []
    with pytest.raises(BadInput, match="PERSON"):
        find(pool, [TEXT], labels=["DRAGON"])


def test_the_hub_s_form():
    capability = ExtractEntities()
    asked = {"aggregation_strategy": "simple", "stride": 3, "ignore_labels": []}
    assert capability.from_hub(TEXT, asked) == ([TEXT], {})
    entity = {"text": "Paris", "label": "GPE", "score": None, "start": 57, "end": 62}
    group = {"entity_group": "GPE", "word": "Paris", "score": 1.0, "start": 57, "end": 62}
    assert capability.to_hub([{"entities": [entity]}], TEXT) == [group]
    assert capability.to_hub([{"entities": [entity]}], [TEXT]) == [[group]]
