class PostgresError(Exception):
    sqlstate: str | None

class InterfaceError(Exception): ...
