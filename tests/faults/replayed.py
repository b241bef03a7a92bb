"""I6: each read model equals a replay of its log."""

import asyncio

from infra.followers.rebuild import RebuildRefused, rebuild
from projections import READ_MODELS


def read_models_agree(database_url: str) -> list[str]:
    """What is wrong, a sentence each: both logs are replayed up to each follower's checkpoint."""
    return asyncio.run(disagreements(database_url))


async def disagreements(database_url: str) -> list[str]:
    """The same, on a loop that runs already."""
    problems = []
    for model in READ_MODELS:
        try:
            found = await rebuild(database_url, model, check=True)
        except RebuildRefused as refused:
            problems.append(str(refused))
            continue
        problems += [
            f"{model.name}: {each.rows} rows of {each.table} are {each.side} at position "
            f"{found.position}, such as {each.examples[0]}"
            for each in found.differences
        ]
    return problems
