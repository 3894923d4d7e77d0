"""The oracle: derived bounds, the checks of `lora-np verify`, and what certifies other implementations.  Floor 6."""
