"""An attack that cannot be made here."""


class Skip(Exception):
    """With what it needs, and this machine has not."""
