"""Adam with bias correction (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1).  Floor 6."""

from lora_np.conformance.definitions.optim import adam, optimizer

DEFINITION = optimizer("adam", adam)
