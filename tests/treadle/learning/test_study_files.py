"""A study's files: its journal, its lock, and who is present."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from tests.treadle.learning.conftest import finished
from treadle.learning.search import search
from treadle.learning.study_files import Presence, is_present, locked


def test_a_torn_line_of_the_journal_is_cut_off(spec):
    first = search(replace(spec, trials=3))
    with (Path(spec.folder) / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code":4,"worker_id":"x","stu')
    more = search(replace(spec, trials=5))
    assert finished(more)[:3] == finished(first)
    assert len(finished(more)) == 5


def test_a_lock_is_released_by_the_death_of_its_owner(tmp_path):
    code = "import sys, time\nfrom pathlib import Path\nfrom treadle.learning.study_files import locked\n"
    code += "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    process.kill()
    process.communicate()
    with locked(tmp_path / "lock"):
        pass


def test_a_presence_ends_when_it_leaves(tmp_path):
    presence = Presence(tmp_path)
    assert is_present(tmp_path, presence.name)
    presence.leave()
    assert not is_present(tmp_path, presence.name)
    assert not is_present(tmp_path, "nobody")
