"""What keys, and the import of many, are refused; `codes` is where all codes are."""

from api.http.code import Code

KEYS = (
    Code(
        "KEY_REVOKED",
        409,
        "The key is revoked",
        "A revoked key stays revoked: nothing about it can be changed any more.",
        "Issue a new key.",
        "This key is revoked.",
    ),
    Code(
        "INVALID_PERMISSION_QUERY",
        400,
        "The permission query can't be read",
        "`permissions` of a verification is a query such as `a AND (b OR NOT c.*)`, of at most "
        "1,000 characters and 32 levels of parentheses. `detail` says at which column, counted "
        "from 1, it can't be read any further, and why. Nothing was taken.",
        "Correct the query at that column. Permissions are words of a-z 0-9 _ - joined by . or :, "
        "a wildcard `*` stands at the end, and `role:NAME` asks for a role.",
        "Column 7: expected a permission, NOT or `(`, found `OR`.",
        "permissions",
    ),
    Code(
        "IMPORT_REFUSED",
        422,
        "Nothing was imported",
        "Keys are imported all or none, and some of the items can't be: a hash of the wrong "
        "length, one that is here already, an account that isn't there or has as many keys as "
        "its plan permits. Of accounts, none of the items can be. `detail` says what is wrong "
        "with which (the first 50 faults), and `param` names the first.",
        "Correct or leave out the items that `detail` names, and send the rest again.",
        "2 of 3 items can't be imported, and none was. items[0].hash: 32 bytes in hex or base64 "
        "for sha256; items[2].account_id: no such account.",
        "items[0].hash",
    ),
)
