"""A past stream against retraining policies, side by side: what each would have erred and spent.

`read_stream` lays the rows out in event time, `replay_policies` walks through them, `recommend` names a policy. Needs no
server and no ledger; the policy `treadle` decides by the very functions by which the platform does.
"""

from treadle.replay.course import Course, lay_out
from treadle.replay.recommendation import MARGIN, Recommendation, recommend
from treadle.replay.stream import Span, Stream, read_stream
from treadle.replay.walk import POLICIES, Outcome, Replay, replay_policies

__all__ = [
    "MARGIN", "POLICIES", "Course", "Outcome", "Recommendation", "Replay", "Span", "Stream", "lay_out", "read_stream",
    "recommend", "replay_policies",
]  # fmt: skip
