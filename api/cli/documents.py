"""asyncapi: the documents that the server answers, without a server."""

import sys

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("asyncapi", epilog="Example: tollhouse asyncapi > asyncapi.json")(asyncapi)


def asyncapi(context: typer.Context) -> None:
    """Print what is published on NATS, as AsyncAPI 3: what /asyncapi.json answers."""
    # Here, because it brings every event along, and `up` stays in memory.
    from api.asyncapi import document

    sys.stdout.write(document(context.obj.wiring.version()).decode() + "\n")
