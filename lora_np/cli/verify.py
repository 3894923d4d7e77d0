"""`lora-np verify`.  Floor 6."""


def verify() -> None:
    """Not written yet."""
