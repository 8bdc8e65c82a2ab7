"""A command could not do what it was asked to, for no fault of its own: the command line says why and ends with 2."""


class CouldNotError(Exception):
    """The text is a whole sentence for the user."""
