"""Errors that the backend answers with a status and a message, instead of a traceback."""

from labelloop.errors import Explained


class BackendError(Explained):
    """A request that cannot be served.

    status: the HTTP status of the answer. The message goes to the client as {"error": …} and into the status
    line, which is the part that Label Studio shows to a person.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BadRequest(BackendError):
    """The request is at fault; the message says which field and what is expected."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)
