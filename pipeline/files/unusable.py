"""Why an address did not give a file."""


class UnusableError(Exception):
    """Why an address did not give the file."""


class TransientError(UnusableError):
    """The same, where another try may succeed, after `wait_seconds` at least."""

    def __init__(self, message: str, wait_seconds: float = 0.0):
        super().__init__(message)
        self.wait_seconds = wait_seconds


class StaleError(UnusableError):
    """What is there of the file cannot be continued."""
