import gzip
import hashlib
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from pathlib import Path

import pandas as pd
import pytest

from app.core.errors import DealsError
from app.ingestion.columns import NAMES
from app.ingestion.generator import generate

pytestmark = pytest.mark.unit


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def generated_deals(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("generated") / "deals.csv"
    generate(path)
    return pd.read_csv(path, dtype="str")


@pytest.mark.parametrize("name", ["deals.csv", "deals.csv.gz"])
def test_generate_same_seed_writes_same_bytes(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    first, second, third = tmp_path / name, tmp_path / "other" / name, tmp_path / f"3{name}"
    generate(first, rows=1000, seed=7)
    generate(second, rows=1000, seed=7)
    generate(third, rows=1000, seed=8)
    assert digest(first) == digest(second) != digest(third)


def test_generate_gzip_path_writes_same_text_compressed(tmp_path: Path) -> None:
    plain, packed = tmp_path / "deals.csv", tmp_path / "deals.csv.gz"
    heard: list[int] = []
    generate(plain, rows=100_001, progress=heard.append)
    generate(packed, rows=100_001)
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert heard == [100_000, 100_001]
    assert plain.read_bytes().count(b"\n") == 100_002


def test_generate_zero_rows_writes_header_only(tmp_path: Path) -> None:
    generate(tmp_path / "deals.csv", rows=0)
    (header,) = (tmp_path / "deals.csv").read_text().splitlines()
    assert sorted(header.split(",")) == sorted(NAMES)


def test_generate_missing_folder_raises_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(DealsError, match=r"deals\.csv: cannot be written: No such file") as failed:
        generate(tmp_path / "missing" / "deals.csv")
    assert "\n" not in str(failed.value)
    assert list(tmp_path.iterdir()) == []


def test_generate_interrupted_keeps_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "deals.csv"
    path.write_text("old")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(path, rows=10, progress=stop)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("deals.csv", "old")]


def test_generate_default_writes_documented_distributions(generated_deals: pd.DataFrame) -> None:
    assert len(generated_deals) == 50_000
    assert set(generated_deals.columns) == set(NAMES)
    assert generated_deals["id"].tolist() == [str(i) for i in range(1, 50_001)]
    hotels = generated_deals[
        ["hotel_name", "hotel_city", "hotel_country", "hotel_phone"]
    ].drop_duplicates()
    assert len(hotels) == hotels["hotel_phone"].nunique() == 150
    assert not hotels.duplicated(["hotel_name", "hotel_city", "hotel_country"]).any()
    assert hotels["hotel_name"].nunique() < 150
    assert (hotels["hotel_name"].str.count(" ") == 1).all()
    assert hotels["hotel_city"].nunique() == 18
    assert hotels["hotel_country"].nunique() == 12
    assert hotels["hotel_phone"].str.fullmatch(r"\+\d{1,3}-\d{1,3}-555-\d{4}").all()
    stars = generated_deals["hotel_star_rating"].value_counts(normalize=True)
    expected = {"1": 0.02, "2": 0.07, "3": 0.22, "4": 0.34, "5": 0.35}
    assert all(abs(stars[star] - share) < 0.01 for star, share in expected.items())
    categories = generated_deals["categories"].map(lambda names: names.split(","))
    counts = categories.map(len)
    assert set(categories.explode()) == {"beach", "boutique", "business", "family", "luxury"}
    assert categories.map(lambda names: len(set(names)) == len(names)).all()
    assert set(counts) == {1, 2, 3}
    assert abs(counts.sum() - 80_000) < 1_000
    assert abs((generated_deals["is_available"] == "True").mean() - 0.8) < 0.01
    assert (generated_deals["checkout_date"] > generated_deals["checkin_date"]).all()


@pytest.mark.parametrize("rounding", [ROUND_HALF_UP, ROUND_HALF_EVEN])
def test_generate_prices_match_discount_to_the_cent(
    generated_deals: pd.DataFrame, rounding: str
) -> None:
    for original, discount, price in generated_deals[
        ["original_price", "discount_percent", "price_per_night"]
    ].itertuples(index=False):
        exact = Decimal(original) * (100 - int(discount)) / 100
        assert exact.quantize(Decimal("0.01"), rounding) == Decimal(price)
