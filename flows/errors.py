"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """Something that the user can mend; the message is one line."""


def one_line(error: BaseException) -> str:
    """What an error of somebody else's says."""
    return " ".join(str(error).split())
