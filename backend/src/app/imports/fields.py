"""How large a field of a file may be: far more than any row needs.

The csv module gives up at 128 KiB a field, and has one limit for the whole process. What is too
long for a row is for the checks to say, and what they have rejected can be read again.
"""

import csv

MAX_FIELD_BYTES = 1 << 24
csv.field_size_limit(MAX_FIELD_BYTES)
