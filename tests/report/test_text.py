"""Values as text that is safe in a page."""

from frostline.report.text import date, escape, number, plain, sentence


def test_escape_keeps_every_script_and_joiner() -> None:
    assert escape("黄蜂 é 👩‍🔬 می‌خواهم") == "黄蜂 é 👩‍🔬 می‌خواهم"
    assert escape("\ud800\x1b\ufffe") == "\\ud800\\x1b\\ufffe"
    assert escape("<b>\"'&\udce9\u202e") == "&lt;b&gt;&quot;&#x27;&amp;\\xe9\\u202e"


def test_no_line_is_broken_before_a_per_cent_sign() -> None:
    assert sentence("a < 92 %, b") == "a &lt; 92&nbsp;%, b"


def test_numbers_and_values() -> None:
    assert [number(x) for x in (1530, 0.94771, None, float("nan"))] == [
        *("1,530", "0.948", "n/a", "n/a")
    ]
    assert [plain(x) for x in (None, True, False, 0.00012345, "<")] == [
        *("", "yes", "no", "0.0001234", "&lt;")
    ]


def test_a_date_as_a_person_writes_it() -> None:
    assert date("2026-03-07T09:05:00+02:00") == "7 March 2026, 09:05"
    assert date("yesterday") == "yesterday"
