"""The pictures in full, without a page: what is drawn, where, and that nothing of it is taken for markup."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest
from datasette_cxlocal.diary import (
    Day,
    Entry,
    asked_day,
    asked_month,
    atom,
    calendar,
    month_after,
    month_before,
    weeks_of,
)
from datasette_cxlocal.graph import STAGES_MAX, Box, stage_graph
from datasette_cxlocal.number_line import FIELDS_MAX, Field, number_line
from datasette_cxlocal.run_page import bars_of, boxes_of
from datasette_cxlocal.strips import Stay, strips
from datasette_cxlocal.svg import Picture, fit, text_width
from datasette_cxlocal.then import GONE, LATER, SAME, asked_time, compared, then_sentence
from datasette_cxlocal.timeline import Bar, stage_timeline
from datasette_cxlocal.value_stream import STEPS_MAX, value_stream
from datasette_cxlocal.way import steps_of, way_sentences
from datasette_cxlocal.words import plain
from markupsafe import Markup

EVIL = "<script>alert(1)</script>\u202e\u0007 ]]>'\"&amp;"
SVG = "{http://www.w3.org/2000/svg}"


def parsed(markup: Markup) -> ElementTree.Element:
    """As XML, which is stricter than HTML."""
    return ElementTree.fromstring(str(markup).replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1))


def boxes(picture: Markup) -> dict[str, tuple[float, float, float, float]]:
    """By title, the corners of what can be followed."""
    found = {}
    for link in parsed(picture).iter(f"{SVG}a"):
        title = (link.findtext(f"{SVG}title") or "").partition(":")[0]
        shape = next(one for one in link.iter(f"{SVG}rect") if "cx-box" in (one.get("class") or ""))
        x, y, width, height = (float(shape.get(key) or 0) for key in ("x", "y", "width", "height"))
        found[title] = (x, y, x + width, y + height)
    return found


def box(name: str, *waits: str, state: str = "success", decided: tuple[str, ...] = ()) -> Box:
    return Box(name, state, "3 s", "test", waits, decided, f"#{name}")


PIPE = [
    box("build"), box("lint"), box("unit", "build"), box("scan", "build"), box("up", "build"),
    box("smoke", "up", "unit"), box("perf", "up", state="not asked for"),
    box("staging", "lint", "smoke", "scan", "build"), box("accept", "staging"),
    box("live", decided=("accept",)),
]  # fmt: skip
SHAPES = {
    "a pipe": PIPE,
    "one": [box("one")],
    "many beside each other": [box(f"s{n}") for n in range(9)],
    "a long chain": [box("s0"), *(box(f"s{n}", f"s{n - 1}") for n in range(1, 12))],
    "all on all": [box(f"s{n}", *(f"s{m}" for m in range(n))) for n in range(8)],
    "a circle": [box("a", "b"), box("b", "a"), box("c", "c")],
    "what is not there": [box("a", "gone", decided=("gone", "a"))],
    "hostile": [box(EVIL), box(EVIL + "2", EVIL, state=EVIL)],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", ["wide", "narrow"])
def test_no_box_of_a_graph_lies_on_another_or_outside(shape: str, form: str) -> None:
    made = stage_graph(SHAPES[shape], EVIL)
    assert made is not None
    drawn = getattr(made, form)
    places = boxes(drawn)
    assert len(places) == len({plain(one.name).partition(":")[0] for one in SHAPES[shape]})
    root = parsed(drawn)
    _, _, width, height = (float(one) for one in (root.get("viewBox") or "").split())
    for left, top, right, bottom in places.values():
        assert left >= 0 and top >= 0 and right <= width and bottom <= height
    for one, other in combinations(places.values(), 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@pytest.mark.parametrize("form", ["wide", "narrow"])
def test_what_waits_stands_after_what_it_waits_for_and_no_line_runs_below_a_box(form: str) -> None:
    made = stage_graph(PIPE, "how")
    assert made is not None
    drawn = getattr(made, form)
    places = boxes(drawn)
    along, across = (0, 1) if form == "wide" else (1, 0)
    for one in PIPE:
        for name in (*one.waits_for, *one.decided):
            assert places[name][along + 2] < places[one.name][along], (name, one.name)
    paths = [edge.get("d") or "" for edge in parsed(drawn).iter(f"{SVG}path") if "cx-edge" in (edge.get("class") or "")]  # fmt: skip
    # staging waits for build, too, which follows from smoke: not drawn. One line is a decision.
    assert len(paths) == 11 and str(drawn).count("cx-decided") == 1
    for path in paths:
        points = [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]
        for left, top, right, bottom in places.values():
            inside = [
                p for p in points if left + 1 < p[0] < right - 1 and top + 1 < p[1] < bottom - 1
            ]
            assert not inside, (path, across)


def test_a_tangle_is_no_picture() -> None:
    assert stage_graph([box(f"s{n}") for n in range(STAGES_MAX + 1)], "x") is None
    assert stage_graph([], "x") is None and stage_timeline([], "x") is None


def bar(name: str, ready: float, start: float, end: float, **rest: Any) -> Bar:
    return Bar(name, rest.pop("state", "success"), ready, start, end, rest.pop("usual", None),
               rest.pop("replaced", False), f"#{name}")  # fmt: skip


def rects(picture: Markup, kind: str) -> list[tuple[float, float]]:
    """Left and right ends of what has a class."""
    found = [one for one in parsed(picture).iter(f"{SVG}rect") if kind in (one.get("class") or "").split()]  # fmt: skip
    return [(float(one.get("x") or 0), float(one.get("x") or 0) + float(one.get("width") or 0)) for one in found]  # fmt: skip


def test_bars_are_as_long_as_their_time_and_a_long_wait_is_drawn_short() -> None:
    made = stage_timeline(
        [
            bar("build", 0, 10, 40, usual=20),
            bar("unit", 40, 40, 100),
            bar("live", 1100, 1100, 1130),
        ],
        "when",
    )
    assert made is not None
    build, unit, live = rects(made.wide, "cx-box")
    lengths = [end - start for start, end in (build, unit, live)]
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=0.3)
    assert lengths[2] == pytest.approx(lengths[0], abs=0.3)
    [waiting] = rects(made.wide, "cx-waiting")
    assert waiting[1] == build[0] and waiting[1] - waiting[0] == pytest.approx(
        lengths[0] / 3, abs=0.3
    )
    [gap] = rects(made.wide, "cx-gap")
    assert gap[0] == unit[1] and gap[1] == live[0] and gap[1] - gap[0] < lengths[0]
    assert ">16 min</text>" in made.wide and "cx-usual" in made.wide
    assert "30 s, usually 20 s" in made.wide and ">1 min</text>" in made.wide


@pytest.mark.parametrize(
    "bars",
    [
        [bar("no time at all", 0, 0, 0)],
        [bar(EVIL, 0, 1, 2, state=EVIL, usual=1e9)],
        [bar("ends before it began", 5, 3, 1)],
        [bar(f"s{n}", n * 1e6, n * 1e6, n * 1e6 + 1) for n in range(60)],
        [bar("for years", 0, 0, 1e9), bar("a moment", 0, 0, 0.001)],
    ],
    ids=["nothing", "hostile", "backwards", "many", "years"],
)
@pytest.mark.parametrize("now", [None, 3.0])
def test_odd_times_stay_in_the_picture(bars: list[Bar], now: float | None) -> None:
    made = stage_timeline(bars, EVIL, now)
    assert made is not None
    for drawn in made:
        width = float((parsed(drawn).get("viewBox") or "").split()[2])
        for left, right in rects(drawn, "cx-box"):
            assert -1 <= left <= right <= width + 1
        for one in parsed(drawn).iter():
            assert "nan" not in str(one.attrib) and "inf" not in str(one.attrib)


def test_pictures_are_named_and_hold_nothing_that_acts() -> None:
    evil = Stay(EVIL, EVIL, 0, 9e9, False, True, EVIL, f"/run/{EVIL}")
    for made in (
        stage_graph(SHAPES["hostile"], EVIL), stage_timeline([bar(EVIL, 0, 1, 2)], EVIL),
        strips([evil], [EVIL], EVIL), number_line([Field(EVIL, EVIL, EVIL, EVIL)], EVIL),
    ):  # fmt: skip
        assert isinstance(made, Picture)
        ids = [parsed(drawn).get("aria-labelledby") for drawn in made]
        assert len(set(ids)) == 2
        for drawn in made:
            root = parsed(drawn)
            assert root.get("role") == "group", "what has links in it is no image"
            names = {one.get("id"): one.text for one in root if one.get("id")}
            assert names[root.get("aria-labelledby")] and names[root.get("aria-describedby")]
            tags = {one.tag.removeprefix(SVG) for one in root.iter()}
            assert tags <= {"svg", "title", "desc", "path", "rect", "text", "a", "g"}
            assert not [key for one in root.iter() for key in one.attrib if key.startswith("on")]
            assert "\u202e" not in drawn and "\\u202e" in drawn


@pytest.mark.parametrize("text", ["short", "W" * 60, "i" * 90, EVIL * 3, "日本語" * 20, ""])
def test_a_label_fits_its_room(text: str) -> None:
    for width in (10, 40, 140):
        assert text_width(fit(text, width)) <= max(width, text_width("…"))


def row(stage: str, result: str = "success", **rest: Any) -> dict[str, Any]:
    """As the stored query ``stages`` has it."""
    usual = {
        "stage": stage, "part": "", "environment": "", "result": result, "attempt": 1, "counts": 1,
        "ready_at": None, "started_at": "2026-11-23T02:00:00.000Z", "duration_seconds": 5.0,
        "usual_seconds": None, "waits_for": "[]", "earned_by": "[]", "stage_run": "x",
    }  # fmt: skip
    return {**usual, **rest}


def test_a_box_tells_the_worst_of_what_counts() -> None:
    rows = [
        row("unit", "failure", counts=0), row("unit", attempt=2, duration_seconds=7.0),
        row("e2e", part="1"), row("e2e", "failure", part="2"),
        row("live", "not reached", stage_run=None, duration_seconds=None, started_at=None, counts=None),
        row("odd", waits_for='["unit", 3, {"a": 1}]', earned_by="no json"),
    ]  # fmt: skip
    found = {one.name: (one.state, one.note, one.waits_for) for one in boxes_of(rows)}
    assert found == {
        "unit": ("success", "7.0 s", ()), "e2e": ("failure", "5.0 s, 2 parts", ()),
        "live": ("not reached", "not reached", ()), "odd": ("success", "5.0 s", ("unit",)),
    }  # fmt: skip


def test_a_bar_goes_on_until_now_only_while_its_stage_runs() -> None:
    now_ms = 1_795_399_210_000  # ten seconds past two
    rows = [row("unit", "running", duration_seconds=None), row("left", "success", duration_seconds=None),
            row("odd", started_at="yesterday")]  # fmt: skip
    bars, now = bars_of(rows, True, now_ms)
    assert [(one.name, one.end - one.start) for one in bars] == [("left", 0), ("unit", now)]
    bars, now = bars_of(rows, False, now_ms)
    assert now is None and {one.end - one.start for one in bars} == {0}


DAY = 86400


def stay(row: str, version: str, start: float, end: float, **rest: bool) -> Stay:
    return Stay(row, version, start * DAY, end * DAY, rest.get("back", False), rest.get("live", False), "words", f"#{version}")  # fmt: skip


def test_strips_are_as_long_as_their_time_and_stand_in_their_row() -> None:
    made = strips(
        [stay("Staging", "1.0", 0, 2), stay("Staging", "1.1", 2, 6), stay("Live", "1.0", 1, 5),
         stay("Live", "0.9", 5, 6, back=True, live=True)],
        ["Staging", "Live"], "what ran where",
    )  # fmt: skip
    assert made is not None and strips([], ["x"], "x") is None
    for drawn in made:
        places: dict[str, list[Any]] = {}
        for link in parsed(drawn).iter(f"{SVG}a"):
            shape = next(link.iter(f"{SVG}rect"))
            x, y, width = (float(shape.get(key) or 0) for key in ("x", "y", "width"))
            places.setdefault((link.findtext(f"{SVG}title") or "").partition(":")[0], []).append((y, x, x + width))  # fmt: skip
        (first, second) = places["1.0"]
        assert first[2] == places["1.1"][0][1], "one begins where the other ends"
        assert (places["1.1"][0][2] - places["1.1"][0][1]) == pytest.approx(2 * (first[2] - first[1]), abs=0.3)  # fmt: skip
        assert first[0] < second[0] == places["0.9"][0][0]
        assert "↩ 0.9" in drawn and "cx-fill-wait" in drawn


def test_what_has_no_room_is_not_written_over_its_neighbour() -> None:
    made = strips(
        [stay("Live", f"2.7.{n}", n / 50, (n + 1) / 50) for n in range(200)], ["Live"], "x"
    )
    assert made is not None
    assert not [one for one in parsed(made.wide).iter(f"{SVG}text") if "2.7." in (one.text or "")]


def test_the_number_line_has_each_number_once_and_breaks_where_it_is_full() -> None:
    fields = [Field(str(n), "in use, confirmed", "", f"#{n}") for n in range(40)]
    fields += [Field("40–99", "skipped", "the reserve was passed over", ""), Field("100", "conflicted", "", "#100"),
               Field("101–109", "reserved", "", "")]  # fmt: skip
    made = number_line(fields, "numbers")
    assert made is not None and number_line([], "x") is None
    for drawn, width in zip(made, (1100, 350), strict=True):
        texts = [one.text for one in parsed(drawn).iter(f"{SVG}text")]
        assert texts == [*(str(n) for n in range(40)), "– 40–99", "⚠ 100", "○ 101–109"]
        assert all(right <= width for _, right in rects(drawn, "cx-box"))
        assert "40–99: skipped; the reserve was passed over" in drawn
    assert len(parsed(made.wide).findall(f"{SVG}a")) == 41, "what nobody took leads nowhere"
    many = number_line([Field(str(n), "reserved", "", "") for n in range(999)], "x")
    assert many is not None and many.wide.count("<rect") == FIELDS_MAX


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "2026-1-1",
        "",
        "0000-01-01",
        "1969-12-31",
        "3000-01-01",
        "2026-11-23x",
        "９999-01-01",
    ],
)
def test_what_is_no_day_is_none(text: str) -> None:
    assert asked_day(text) is None


@pytest.mark.parametrize("text", ["2026-13", "2026", "", "2026-1", "x026-11"])
def test_what_is_no_month_is_none(text: str) -> None:
    assert asked_month(text) is None


def test_a_month_has_its_weeks() -> None:
    first = asked_month("2026-11")
    assert first is not None
    assert str(month_before(first)) == "2026-10-01" and str(month_after(first)) == "2026-12-01"
    for edge in ("1970-01", "2999-12"):
        at = asked_month(edge)
        assert at is not None and month_before(at) <= at <= month_after(at)
    weeks = weeks_of(first, {n: Day(n, "", "", (), False) for n in range(1, 31)})
    assert [len(week) for week in weeks] == [7] * 6
    assert [day and day.number for day in weeks[0]] == [None] * 6 + [1], "1 Nov 2026 is a Sunday"
    assert [day and day.number for day in weeks[-1]] == [30] + [None] * 6


def test_feeds_are_well_formed_whatever_is_in_them() -> None:
    entries = [Entry(f"{EVIL},;\\", "2026-11-23T02:13:20.500Z", f"{plain(EVIL)}, {'ü' * 90};", "one\r\ntwo", "http://h/x"),
               Entry("b", "2026-11-24T02:13:20.000Z", "later", "", "http://h/y")]  # fmt: skip
    lines = calendar(entries).split("\r\n")
    assert lines[0] == "BEGIN:VCALENDAR" and lines[-2:] == ["END:VCALENDAR", ""]
    assert all(len(line.encode()) <= 75 for line in lines)
    assert lines.count("BEGIN:VEVENT") == 2 and "DTSTART:20261123T021320Z" in lines
    unfolded = calendar(entries).replace("\r\n ", "")
    assert "DESCRIPTION:one two" in unfolded and "\\, üüü" in unfolded
    names = "{http://www.w3.org/2005/Atom}"
    found = ElementTree.fromstring(atom(entries[1:], "http://h/"))
    assert [one.findtext(f"{names}title") for one in found.iter(f"{names}entry")] == ["later"]


def happened(what: str, at: str, name: str = "", whose: str = "machines") -> dict[str, Any]:
    """As the stored query ``way`` has it."""
    return {"what": what, "at": f"2026-11-23T{at}:00.000Z", "name": name, "whose": whose, "actor": "Mara <m@x>", "words": ""}  # fmt: skip


WAY = [
    happened("commit", "02:10", "a14868f1", "people"), happened("asked for", "02:14", "2.7.1", "people"),
    happened("live", "02:20", "Staging"), happened("granted", "02:37", "Approved", "people"),
    happened("live", "02:40", "Live"), happened("rolled back", "09:00", "Live"),
]  # fmt: skip


def test_a_way_tells_how_long_it_was_and_how_much_of_it_was_waiting_for_people() -> None:
    steps = steps_of(WAY)
    assert [(one.name, one.took, one.people) for one in steps] == [
        ("Commit a14868f1", "", True), ("Asked for 2.7.1", "4 min", True), ("Staging", "6 min", False),
        ("Approved: given", "17 min", True), ("Live", "3 min", False), ("Put back into Live", "6 h 20 min", False),
    ]  # fmt: skip
    assert way_sentences(steps, True) == [
        "From its commit to Live: 30 min.", "Waiting for people: 21 min, 70 % of it.",
    ]  # fmt: skip
    assert (
        way_sentences(steps_of(WAY[1:]), False)[0] == "From when it was asked for to Live: 26 min."
    )
    assert way_sentences(steps_of(WAY[1:]), False)[-1] == "When its commit was made is not known."
    assert way_sentences(steps_of(WAY[:2]), True) == ["It has not gone live anywhere."]
    assert way_sentences([], True) == ["It has not gone live anywhere."]


@pytest.mark.parametrize("count", [1, 4, 5, 6, 13, 40])
def test_steps_stand_apart_in_order_and_lead_to_each_other(count: int) -> None:
    rows = [
        happened("live" if n % 2 else "granted", f"{n // 60:02}:{n % 60:02}", EVIL, "people")
        for n in range(count)
    ]
    made = value_stream(steps_of(rows), EVIL)
    assert made is not None and value_stream([], "x") is None
    for drawn in made:
        root = parsed(drawn)
        _, _, width, height = (float(one) for one in (root.get("viewBox") or "").split())
        found = [tuple(float(one.get(key) or 0) for key in ("x", "y", "width", "height"))
                 for one in root.iter(f"{SVG}rect")]  # fmt: skip
        assert len(found) == min(count, STEPS_MAX)
        for (x, y, w, h), (x2, y2, _, _) in combinations(found, 2):
            assert x + w <= x2 or y + h <= y2, "later ones stand right of it or below"
        assert all(x >= 0 and x + w <= width and y + h <= height for x, y, w, h in found)
        assert drawn.count("cx-people") == len(found) - 1


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("2026-11-23", "2026-11-23 23:59:59.999+05:45"), ("2026-11-23T02:14", "2026-11-23 02:14:00.000+05:45"),
        ("2026-11-23 02:14", "2026-11-23 02:14:00.000+05:45"),
        ("2026-11-23T02:14:09", "2026-11-23 02:14:09.000+05:45"),
        ("2026-11-23 02:14:09.5", "2026-11-23 02:14:09.500+05:45"),
        ("2026-11-23T02:14Z", "2026-11-23 07:59:00.000+05:45"),
        ("2026-11-23T02:14+01:00", "2026-11-23 06:59:00.000+05:45"),
        ("2026-11-23T02:14 01:00", "2026-11-23 06:59:00.000+05:45"),
        ("2026-11-23 02:14:09 -01:00", "2026-11-23 08:59:09.000+05:45"),
        ("2026-11-31", None), ("2026-11-23T24:00", None), ("2026-11-23T02:60", None), ("", None),
        ("2026-11-23T02", None), ("2026-11-23T02:14+99:00", None), ("now", None), ("30.11.2026", None),
        ("2026-11-23T02:14Z'; --", None),
    ],
)  # fmt: skip
def test_a_time_is_one_of_this_machine(text: str, made: str | None) -> None:
    assert asked_time(text) == made


def test_what_was_known_then_is_told_from_what_is_known_now() -> None:
    def live(version: str, since: str = "1") -> dict[str, Any]:
        return {"deliverable": "shop", "environment": "live", "version": version, "since": since}

    marks = {row["version"]: mark for row, mark in compared([live("1"), live("2")], [live("2"), live("3")])}  # fmt: skip
    assert marks == {"1": GONE, "2": SAME, "3": LATER}
    assert (
        then_sentence(compared([live("1")], [live("1")]), "")
        == "What was known then is what is known now."
    )
    assert (
        then_sentence(compared([live("1")], [live("2")]), "") == "2 of 2 are known otherwise now."
    )
    assert then_sentence([], "") == "Nothing was live, as far as is known here."
