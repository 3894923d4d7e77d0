"""`lora-np bench`.  Floor 6."""


def bench() -> None:
    """Not written yet."""
