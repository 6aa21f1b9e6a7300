import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as RichProgress

from hpcflow.display import Bars, Lines, Pace, clock, showing, summary
from hpcflow.execute.progress import Silent
from hpcflow.report.pace import Course, Expected

MIB = 2**20


class Clock:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


class Terminal(io.StringIO):
    def isatty(self):
        return True


def play(progress, clock, *, blocks=4):
    """A stage of `blocks` blocks, two seconds each; the last item of the last is bad."""
    progress.start([Expected("energy", blocks, 4.0), Expected("total", 1, 1.0)])
    progress.note("dashboard: http://127.0.0.1:8787/status")
    progress.stage("energy", blocks)
    for done in range(1, blocks + 1):
        clock.time += 2
        progress.block("energy", done, 8 * MIB, 4 * MIB, int(done == blocks), memory=300 * MIB)
    progress.stage("total", 1)
    clock.time += 1
    progress.block("total", 1, 0, 0, 0)
    progress.end(None)


def test_pace_averages_over_its_last_seconds():
    pace = Pace(100)
    pace.update(0.0, 0, 0, 0)
    assert pace.left() is None
    for second in range(1, 41):
        # One block per second, and from the tenth second on two.
        pace.update(float(second), second + max(0, second - 10), 10, 0)
    assert pace.done == 70
    assert pace.rate(1) == pytest.approx(2.0, rel=0.05)
    assert pace.rate(2) == pytest.approx(10.0)
    assert pace.left() == pytest.approx(15.0, rel=0.05)


def test_blocks_of_an_earlier_run_do_not_count_for_speed():
    pace = Pace(100)
    pace.update(0.0, 60, 0, 0)
    pace.update(10.0, 70, 0, 0)
    assert pace.left() == pytest.approx(30.0)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_a_log_gets_a_line_every_few_seconds_and_at_the_end_of_a_stage():
    stream, now = io.StringIO(), Clock()
    play(Lines(stream, now=now), now)
    assert stream.getvalue().splitlines() == [
        "dashboard: http://127.0.0.1:8787/status",
        "energy: 3/4 blocks, 4.0 MiB/s read, 2.0 MiB/s written, 0:02 left, 300 MiB in use, about 0:04 left in all",
        "energy: 4/4 blocks, 4.0 MiB/s read, 2.0 MiB/s written, 1 failed, 300 MiB in use, about 0:02 left in all",
        "total: 1/1 blocks",
    ]


def test_a_terminal_gets_a_bar_for_each_stage():
    stream, now = Terminal(), Clock()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    columns = TextColumn("{task.description}"), BarColumn(10), TextColumn("{task.fields[text]}")
    play(Bars(RichProgress(*columns, console=console, auto_refresh=False), now=now), now)
    last = [line for line in stream.getvalue().splitlines() if "blocks" in line or "whole run" in line][-3:]
    assert "dashboard: http://127.0.0.1:8787/status" in stream.getvalue()
    assert "energy" in last[0]
    assert "4/4 blocks, 4.0 MiB/s read, 2.0 MiB/s written, 1 failed, 300 MiB in use" in last[0]
    assert "total" in last[1]
    assert "1/1 blocks" in last[1]
    assert "whole run" in last[2]


def test_a_terminal_shows_the_time_that_the_whole_run_will_take():
    now, rich = Clock(), RichProgress(console=Console(file=Terminal()), auto_refresh=False)
    bars = Bars(rich, now=now)
    bars.start([Expected("energy", 4, 4.0), Expected("total", 1, 1.0)])
    bars.stage("energy", 4)
    now.time += 2
    bars.block("energy", 1, 0, 0, 0)
    assert [task.description for task in rich.tasks] == ["energy", "total", "whole run"]
    assert rich.tasks[-1].fields["text"] == "about 0:08 left in all"
    assert rich.tasks[-1].completed == pytest.approx(0.2)
    bars.end(None)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 8), st.floats(0.1, 10)), min_size=1, max_size=4),
    st.floats(0.1, 9),
)
def test_the_time_left_is_right_where_the_planner_is(stages, speed):
    """Stages of some blocks, the first of them finished before, that take as long as their cost says."""
    course, now = Course(), 0.0
    course.start([Expected(str(i), blocks, blocks * each) for i, (blocks, _, each) in enumerate(stages)])
    assert course.left() is None
    for i, (blocks, before, each) in enumerate(stages):
        done = min(before, blocks)
        course.stage(now, str(i), blocks, done)
        while done < blocks:
            now, done = now + each * speed, done + 1
            course.block(now, str(i), done, 0, 0)
            ahead = sum(n * e for n, _, e in stages[i + 1 :])
            # Each stage begun may have had nothing to do: then nothing is known of speeds.
            assert course.left() == pytest.approx(((blocks - done) * each + ahead) * speed)
    assert course.share == pytest.approx(1)


def test_what_is_shown_depends_on_where():
    with showing(io.StringIO(), quiet=False) as progress:
        assert isinstance(progress, Lines)
    with showing(Terminal(), quiet=False) as progress:
        assert isinstance(progress, Bars)
    with showing(Terminal(), quiet=True) as progress:
        assert isinstance(progress, Silent)


def test_quiet_shows_nothing(capfd):
    with showing(Terminal(), quiet=True) as progress:
        play(progress, Clock())
    assert capfd.readouterr() == ("", "")


def test_the_cursor_comes_back_after_an_error():
    stream = Terminal()
    with pytest.raises(RuntimeError), showing(stream, quiet=False) as progress:  # noqa: PT012
        progress.start([Expected("energy", 3, 1.0)])
        raise RuntimeError
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert stream.getvalue().rfind(show) >= stream.getvalue().rfind(hide)


REPORT = {
    "flow": "image",
    "status": "complete",
    "exit_code": 3,
    "seconds": {"total": 12.34, "startup": 1.2, "compute": 11.14},
    "tasks": {"total": 64, "executed": 60, "reused": 4, "retried": 0},
    "memory": {"projected_peak": 3 * 2**29, "measured_peak": 2**30, "budget": 8 * 2**30},
    "outputs": [
        {"name": "plane", "path": "out/plane.npy", "shape": [10, 5], "dtype": "float32"},
        {"name": "labels", "path": "out/labels.csv", "shape": [6], "dtype": "[('class_id', '<i8'), ('score', '<f4')]"},
        {"name": "total", "path": "out/total.json", "shape": [], "dtype": "float32"},
    ],
    "quarantine": [{"item": "photos/a.jpg", "reason": "truncated"}],
    "cluster": {"kind": "local", "workers": 1, "threads": 2, "device": "cpu", "dashboard": None},
    "versions": {},
}


def test_a_summary_says_what_happened():
    assert summary(REPORT, "runs/image/report.json").splitlines() == [
        "image: complete in 12.3 s (startup 1.2 s, compute 11.1 s)",
        "  tasks    60 executed, 4 reused",
        "  memory   1.0 GiB at peak, 1.5 GiB planned, 8.0 GiB allowed",
        "  cluster  local, 1 worker, 2 threads, cpu",
        "  output   out/plane.npy  (10, 5) float32",
        "  output   out/labels.csv  (6,) records of class_id, score",
        "  output   out/total.json  float32",
        "  bad      photos/a.jpg: truncated",
        "  report   runs/image/report.json",
    ]


def test_a_summary_does_not_list_thousands_of_bad_items():
    bad = [{"item": f"{i}.jpg", "reason": "truncated"} for i in range(1000)]
    lines = summary({**json.loads(json.dumps(REPORT)), "quarantine": bad}).splitlines()
    assert len(lines) < 40
    assert lines[-1] == "  bad      and 980 more"
