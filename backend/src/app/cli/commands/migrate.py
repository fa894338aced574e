import typer

from app.cli import console
from app.cli.commands.databases import start
from app.db.migrations import head_revision, upgrade
from app.db.provisioning import provision_database

app = typer.Typer(add_completion=False)


@app.command()
def migrate() -> None:
    """Upgrade the database schema to the latest revision."""
    settings = start()
    with provision_database(settings) as urls:
        upgrade(urls.direct)
    console.stdout.print(f"the schema is at {head_revision()}")
