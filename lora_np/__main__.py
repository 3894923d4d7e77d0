"""Run the commands as ``python -m lora_np``.  Floor 6."""

from lora_np.cli import main

if __name__ == "__main__":
    main()
