"""passwords: the list of passwords that are known from breaches."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from api.cli import output
from api.cli.running import Json
from application.breached import BreachedLine, read_line
from application.ports import Ports

app = typer.Typer(help="Which passwords nobody may have.", no_args_is_help=True)

AT_ONCE = 10_000
TELL_EVERY = 1_000_000


class _Line(NamedTuple):
    where: str
    read: BreachedLine


@app.command("import", epilog="Example: tollhouse passwords import pwned-passwords-sha1.txt")
def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(exists=True, help="A file of SHA-1 hashes, or ranges in files ABCDE.txt."),
    ],
    json: Json = False,
) -> None:
    """Refuse these passwords from now on, at registration, change and reset.

    A file has a SHA-1 hash a line, in hexadecimal, with or without `:count`; a range file is
    named by the first five digits, and has the other 35 in its lines, as the range API of Have I
    Been Pwned answers them. A folder is read file by file. Again is no harm.
    """
    files = sorted(file.iterdir()) if file.is_dir() else [file]

    async def use(ports: Ports) -> tuple[int, int, list[str]]:
        read = added = 0
        refused: list[str] = []
        found = _lines(files)
        while lines := list(islice(found, AT_ONCE)):
            refused += [line.where for line in lines if line.read.fault][: 20 - len(refused)]
            digests = [line.read.sha1 for line in lines if line.read.sha1 is not None]
            added += await ports.breached.add(digests)
            before, read = read, read + len(digests)
            if read // TELL_EVERY > before // TELL_EVERY:
                output.say(f"{read:,} read, {added:,} of them new")
        return read, added, refused

    read, added, refused = context.obj.act(use)
    if json:
        output.show_json({"read": read, "added": added, "refused": refused})
    else:
        output.show(f"{read:,} read, {added:,} of them new")
        for where in refused:
            output.complain(f"{where}: no SHA-1 hash")
    if refused:
        raise typer.Exit(1)


def _lines(files: list[Path]) -> Iterator[_Line]:
    for file in files:
        with file.open(encoding="ascii", errors="replace") as opened:
            for number, text in enumerate(opened, 1):
                read = read_line(text, file.stem)
                if read.sha1 is not None or read.fault:
                    yield _Line(f"{file.name}, line {number}", read)
