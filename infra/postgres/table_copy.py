"""What CREATE TABLE (LIKE ... INCLUDING ALL) leaves out: owner, grants, storage parameters."""

from typing import Any

import psycopg
from psycopg import sql

_PROPERTIES = """
SELECT pg_get_userbyid(relowner), obj_description(c.oid, 'pg_class'), reloptions
  FROM pg_class c WHERE c.oid = %s::regclass
"""
_GRANTS = """
SELECT CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee) END, privilege_type,
       is_grantable
  FROM pg_class c, aclexplode(c.relacl) WHERE c.oid = %s::regclass AND grantee <> relowner
"""


async def copy_properties(
    connection: psycopg.AsyncConnection, source: str, target: str, table: str
) -> None:
    """Give `target`.`table` the owner, grants, parameters and comment of `source`.`table`."""
    there = sql.Identifier(target, table)
    row = await (await connection.execute(_PROPERTIES, (f"{source}.{table}",))).fetchone()
    assert row is not None
    owner, comment, parameters = row
    statements: list[sql.Composed] = [
        sql.SQL("ALTER TABLE {} SET ({})").format(there, sql.SQL(each)) for each in parameters or ()
    ]
    statements.append(sql.SQL("COMMENT ON TABLE {} IS {}").format(there, sql.Literal(comment)))
    cursor = await connection.execute(_GRANTS, (f"{source}.{table}",))
    statements += [_grant(there, *grant) for grant in await cursor.fetchall()]
    statements.append(sql.SQL("ALTER TABLE {} OWNER TO {}").format(there, sql.Identifier(owner)))
    for statement in statements:
        await connection.execute(statement)


def _grant(there: sql.Identifier, role: str | None, right: Any, grantable: bool) -> sql.Composed:
    return sql.SQL("GRANT {} ON {} TO {}{}").format(
        sql.SQL(right),
        there,
        sql.SQL("PUBLIC") if role is None else sql.Identifier(role),
        sql.SQL(" WITH GRANT OPTION" if grantable else ""),
    )
