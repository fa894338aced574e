"""The least that can answer: bare ASGI and asyncpg, the service's SQL by hand, the same bytes out.

It checks nothing and knows only what the scenarios ask.
"""
