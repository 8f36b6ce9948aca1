"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """Something that the user can mend; the message is one line."""
