"""A rendered inspection task and the report of a whole journey through the tool."""
