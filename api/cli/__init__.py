"""The command line: one module per noun. Operators act on the database itself; `verify`
asks the running server over HTTP, as a client would."""
