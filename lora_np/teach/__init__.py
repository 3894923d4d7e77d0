"""Exercises that are checked at once, with hints that name the mistake.  Floor 6.  The lessons are in `tutorials/`."""

from lora_np.teach.checking import check, hint
from lora_np.teach.exercises import exercise, exercises
from lora_np.teach.judging import Verdict, judge
from lora_np.teach.picture import picture

__all__ = ["Verdict", "check", "exercise", "exercises", "hint", "judge", "picture"]
