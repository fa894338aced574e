"""The floor: a minimal server with bare ASGI, asyncpg and the service's SQL by hand.

It sends the same bytes as the service, validates nothing and supports only the scenarios' requests.
"""
