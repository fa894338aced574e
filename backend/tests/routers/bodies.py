"""Request bodies for tests that do not depend on their content."""

HOTEL = {"name": "Lakeside Court", "city": "Berlin", "country": "Germany", "phone": "+49-30-1"}
DEAL = {
    "external_id": 17,
    "hotel_id": 1,
    "room_type": "suite",
    "star_rating": 4,
    "price_per_night": "176.18",
    "original_price": 244.69,
    "discount_percent": 28,
    "checkin_date": "2026-12-01",
    "checkout_date": "2026-12-06",
    "is_available": True,
    "categories": ["Luxury", " boutique ", "luxury"],
}
