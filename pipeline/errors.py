"""What a user's input can get wrong."""


class InputError(ValueError):
    """Input that cannot be used; the message: the subject, what was received, what is valid, what to do."""
