import typer

from app.cli import demo
from app.cli.commands.databases import start
from app.cli.commands.options import DEFAULT_SEED, Host, Port, Rows

app = typer.Typer(add_completion=False)


@app.command("demo")
def demo_command(port: Port = 8000, rows: Rows = 50_000, host: Host = "127.0.0.1") -> None:
    """Start a database with generated deals, the API and a worker.

    Ctrl-C stops everything. A second start reuses the data.
    """
    demo.run(start(), host=host, port=port, rows=rows, seed=DEFAULT_SEED)
