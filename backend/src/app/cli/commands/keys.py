import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.markup import escape
from rich.table import Table

from app.cli import console
from app.cli.commands.databases import opened, start
from app.core.limits import MAX_KEY_NAME_LENGTH
from app.services.keys import SCOPES, KeyService

T = TypeVar("T")

app = typer.Typer(
    help="Create, list and revoke API keys.", no_args_is_help=True, add_completion=False
)


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Name of the key, such as its purpose.")],
    scopes: Annotated[
        list[str],
        typer.Option(
            "--scope", help=f"Permission of the key, one of {', '.join(SCOPES)}. Repeatable."
        ),
    ],
) -> None:
    """Create a key and print it. The key is shown only once."""
    chosen = [scope for scope in SCOPES if scope in scopes]
    if unknown := set(scopes) - set(SCOPES):
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: not one of {', '.join(SCOPES)}", param_hint="--scope"
        )
    if not name.strip() or len(name) > MAX_KEY_NAME_LENGTH:
        raise typer.BadParameter(f"1 to {MAX_KEY_NAME_LENGTH} characters", param_hint="NAME")
    key = _with_keys(lambda keys: keys.create(name.strip(), chosen))
    # Print only the key on stdout, so that scripts can read it.
    console.stderr.print("store this key now, it is not shown again:")
    sys.stdout.write(f"{key}\n")


@app.command("list")
def list_keys() -> None:
    """List all keys with their scopes and the dates of creation, last use and revocation."""
    table = Table("name", "scopes", "created", "last used", "revoked")
    for key in _with_keys(lambda keys: keys.all()):
        dates = (key.created_at, key.last_used_at, key.revoked_at)
        shown = (date.strftime("%Y-%m-%d %H:%M") if date else "-" for date in dates)
        table.add_row(escape(key.name), " ".join(key.scopes), *shown)
    console.stdout.print(table)


@app.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="The key's name.")]) -> None:
    """Revoke a key permanently."""
    _with_keys(lambda keys: keys.revoke(name))
    console.stdout.print(f"{name} is revoked", markup=False)


def _with_keys(work: Callable[[KeyService], Awaitable[T]]) -> T:
    settings = start()

    async def run() -> T:
        async with opened(settings) as database:
            return await database.uow.run(lambda session: work(KeyService(session)))

    return asyncio.run(run())
