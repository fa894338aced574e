from app.models.access import ApiKey
from app.models.catalog import Category, Deal, Hotel, deal_categories
from app.models.derived import category_changes, category_totals, hotel_changes
from app.models.idempotency import idempotency_keys
from app.models.imports import Import, ImportChunk

__all__ = [
    "ApiKey",
    "Category",
    "Deal",
    "Hotel",
    "Import",
    "ImportChunk",
    "category_changes",
    "category_totals",
    "deal_categories",
    "hotel_changes",
    "idempotency_keys",
]
