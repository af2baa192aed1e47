import contextlib
import subprocess
import sys
import time

from treadle.cost import meter

# The system counts a living child in ticks of a hundredth of a second, each of its kinds rounded down.
TICKS_S = 0.05
BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_own_work_is_counted_and_sleep_is_not():
    with meter() as spent:
        burn(0.2)
        time.sleep(0.3)
    assert 0.2 <= spent.cpu_seconds < 0.45
    assert spent.seconds >= 0.5


def test_a_finished_child_is_counted():
    with meter() as spent:
        subprocess.run([sys.executable, "-S", "-c", BURN], check=True)
    assert spent.cpu_seconds >= 0.3 - TICKS_S


def test_a_living_child_is_counted_once_before_and_after_it_ends():
    with meter() as spent:
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", BURN + "print(flush=True)\ninput()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout
        child.stdout.readline()
        living = spent.cpu_seconds
        child.communicate(b"\n")
    assert living >= 0.3 - TICKS_S
    assert living <= spent.cpu_seconds + TICKS_S
    assert spent.cpu_seconds < 1.5 * living + TICKS_S


def test_what_was_spent_before_is_not_counted():
    burn(0.2)
    with meter() as spent:
        pass
    assert spent.cpu_seconds < 0.1


def test_the_figures_stay_after_the_block():
    with meter() as spent:
        pass
    seconds, cpu_seconds = spent.seconds, spent.cpu_seconds
    burn(0.05)
    assert (spent.seconds, spent.cpu_seconds) == (seconds, cpu_seconds)


def test_the_figures_are_kept_when_the_block_raises():
    with contextlib.suppress(ZeroDivisionError), meter() as spent:
        burn(0.1)
        _ = 1 / 0
    assert 0.1 <= spent.cpu_seconds < 0.3
