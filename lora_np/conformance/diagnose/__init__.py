"""What is wrong with an answer: a table of mistakes, each computed and compared with what came.  Floor 6."""

from lora_np.conformance.diagnose.question import Diagnosis
from lora_np.conformance.diagnose.search import diagnose, diagnoses, verdict

__all__ = ["Diagnosis", "diagnose", "diagnoses", "verdict"]
