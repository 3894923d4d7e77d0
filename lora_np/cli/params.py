"""`lora-np params`.  Floor 6."""


def params() -> None:
    """Not written yet."""
