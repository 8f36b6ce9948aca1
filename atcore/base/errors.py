"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake in the user's configuration or data.

    The message is one line that names the key or file, the value found and what is allowed.
    Commands print it without a traceback and exit with status 2.
    """
