"""Validation of whole columns gives the same results as validation row by row."""

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.csv_files import row, write

from app.ingestion import columns, rules
from app.ingestion.check.conflicts import KnownHotels, decide
from app.ingestion.check.validated_chunk import Hotel, ValidatedChunk
from app.ingestion.check.validation import check
from app.ingestion.columns import NAMES
from app.ingestion.read.chunks import chunks, inspect
from app.ingestion.read.source import opened
from app.ingestion.rules import RejectReason

pytestmark = pytest.mark.unit

KEY = "0123456789abcdef"
FIELDS = {
    "id": ["1", "2", " 2", "02", "0", "x", "", "9" * 19, "9" * 18],
    "hotel_name": ["Inn", " Inn ", "Inn 2", "", "x" * 201],
    "hotel_city": ["Rome", "Röme", "\0"],
    "hotel_country": ["Italy", "\t"],
    "hotel_phone": ["+39", "+40", "1" * 41],
    "hotel_star_rating": ["1", "5", "6", "2.0"],
    "room_type": ["suite", "a\tb\\", "two\nlines", ""],
    "price_per_night": ["80", "80.0", "80.00", "0.5", "0", "1.234", "1e5", "100000000"],
    "original_price": ["100.5", "100.50", ".", "-1"],
    "discount_percent": ["0", "100", "101", "-0"],
    "checkin_date": ["2027-03-01", "2027-02-30", ""],
    "checkout_date": ["2027-03-05", "2027-03-01", "x"],
    "is_available": ["True", "1", "no", "?"],
    "categories": ["", "a,B", "b , A,a", ",".join("abcdefghijklmnopqrstu"), "x" * 51],
    "created_at": ["2026-08-28 00:10:25", "2026-08-28T02:10:25+02:00", "2026-02-29 00:00:00", ""],
}
# Most rows are valid, so that the test sees the neighbours of an invalid one pass.
ROWS = st.lists(
    st.fixed_dictionaries(
        {name: st.sampled_from([values[0]] * 20 + values) for name, values in FIELDS.items()}
    ),
    min_size=1,
    max_size=12,
)


def fold(names: Collection[str]) -> Mapping[str, str]:
    return {name: name.lower() for name in names}


def check_rows(path: Path, rows: list[dict[str, str]]) -> ValidatedChunk:
    header = inspect(write(path, rows))
    with opened(path) as file:
        (chunk,) = chunks(file, header, 1000)
    return check(chunk, header, fold, KEY)


def check_row(fields: Mapping[str, str]) -> dict[str, object] | tuple[str, str]:
    """Return the canonical row, or the column and the code of its first problem."""
    rule_of = {column.name: column.rule for column in columns.SCALARS}
    says: dict[str, object] = {}
    for name in NAMES:
        result: object
        if name == "categories":
            named = rules.category_names(fields[name])
            result = (
                named
                if isinstance(named, RejectReason)
                else rules.category_set([part.lower() for part in named])
            )
        else:
            result = rule_of[name](fields[name])
        if isinstance(result, RejectReason):
            return name, result.code
        if name == "checkout_date" and str(result) <= str(says["checkin_date"]):
            return name, "checkout_not_after_checkin"
        says[name] = result
    return says


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=ROWS)
def test_check_columns_matches_row_by_row_rules(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    result = check_rows(tmp_path / "deals.csv", rows)
    expected = [check_row(fields) for fields in rows]
    good = [i for i, says in enumerate(expected) if isinstance(says, dict)]
    bad = {i: says for i, says in enumerate(expected) if isinstance(says, tuple)}
    assert result.rows.tolist() == good
    assert {
        tuple(reject.fields): (reject.column, reject.problem.code) for reject in result.rejects
    } == {tuple(rows[i][name] for name in NAMES): why for i, why in bad.items()}
    for index, place in enumerate(good):
        says = expected[place]
        assert isinstance(says, dict)
        hotel = result.hotels[result.hotel[index]]
        assert (hotel.phone, *hotel.identity) == (
            says["hotel_phone"],
            says["hotel_name"],
            says["hotel_city"],
            says["hotel_country"],
        )
        assert result.category_sets[result.category_set[index]] == says["categories"]
        assert str(result.ids[index]) == says["id"]
    # Equal rows have equal hashes, and different rows have different ones.
    contents = [str(expected[place]) for place in good]
    assert len(set(contents)) == len(set(result.hashes.tolist()))


IDENTITIES = st.sampled_from(["Inn", "Court"])
PHONES = st.sampled_from(["+1", "+2", "+3"])
SMALL = st.lists(
    st.tuples(st.integers(1, 6), IDENTITIES, PHONES, st.sampled_from(["suite", "studio"])),
    min_size=1,
    max_size=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=SMALL, stored=st.dictionaries(IDENTITIES, PHONES, max_size=2), before=SMALL)
def test_decide_chunk_matches_row_by_row_decisions(
    tmp_path: Path,
    rows: list[tuple[int, str, str, str]],
    stored: dict[str, str],
    before: list[tuple[int, str, str, str]],
) -> None:
    path = tmp_path / "deals.csv"
    files = [
        check_rows(
            path,
            [
                row(number, hotel_name=name, hotel_phone=phone, room_type=room)
                for number, name, phone, room in part
            ],
        )
        for part in (before, rows)
    ]
    phones = {phone: name for name, phone in stored.items()}
    names = {name: phone for phone, name in phones.items()}
    taken: dict[int, tuple[str, str, str]] = {}
    seen = dict(zip(files[0].ids.tolist(), files[0].hashes.tolist(), strict=True))
    for number, *content in before:
        taken[number] = (content[0], content[1], content[2])
    accepted, duplicates, codes = [], 0, []
    known = dict(phones), dict(names)
    for index, (number, name, phone, room) in enumerate(rows):
        if number in taken:
            same = taken[number] == (name, phone, room)
            duplicates += same
            codes += [] if same else ["duplicate_id"]
        elif known[0].get(phone, name) != name:
            codes.append("phone_identity_conflict")
        elif known[1].get(name, phone) != phone:
            codes.append("hotel_phone_conflict")
        else:
            taken[number] = (name, phone, room)
            known[0][phone], known[1][name] = name, phone
            accepted.append(index)
    in_database = KnownHotels.stored(
        {
            Hotel(phone, name, "Berlin", "Germany"): index
            for index, (phone, name) in enumerate(phones.items())
        }
    )
    asked = {number: seen[number] for number in files[1].ids.tolist() if number in seen}
    decision = decide(files[1], in_database, asked)
    assert decision.accepted.tolist() == accepted
    assert decision.duplicates == duplicates
    assert [reject.problem.code for reject in decision.rejects] == codes


def test_check_rejected_row_keeps_original_fields(tmp_path: Path) -> None:
    bad = row(1, hotel_star_rating=" 9 ", room_type=' "quoted"\r\n, x ', categories="NA")
    result = check_rows(tmp_path / "deals.csv", [row(2), bad])
    (reject,) = result.rejects
    assert dict(zip(NAMES, reject.fields, strict=True)) == bad
    assert reject.line == 3
