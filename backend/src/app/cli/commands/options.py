"""Options and exit statuses that several commands share."""

from typing import Annotated

import typer

EXIT_REJECTED = 1
EXIT_REFUSED = 2
EXIT_FAILED = 3

DEFAULT_SEED = 20261120

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
Rows = Annotated[int, typer.Option(min=1, help="Number of deals to generate.")]
