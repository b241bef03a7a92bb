"""An API key with a quota, as the library's documentation has one extend its model."""
