"""Train small networks on real data: pretrain, adapt to a shifted task, prune while adapting.  Floor 4.

tasks        the digits, and the digits shifted: what is learnt first, and what is learnt next
plans        which parameters a method trains: everything, adapters, biases, the last layer
loop         training as a generator of states
scores       the importance of hidden units by every criterion
pruning      LoRAPrune: the same loop, which scores, masks and in the end takes units away
recipes      what a method does to a network before it is trained
watched      a run to be looked at: losses, norms and spectra on the way
saving       a state to a file and back, bit for bit
experiments  the tables: methods compared, accuracy against sparsity

A loop can be left at any state and taken up again from it, from memory or from a file, with identical results.
"""

from lora_np.training.loop import Settings, State, evaluate, start, train
from lora_np.training.plans import METHODS, count_trainable
from lora_np.training.pruning import PruneSettings, physically_shrunk, prune_and_train
from lora_np.training.recipes import RECIPES, adapted
from lora_np.training.saving import load, save
from lora_np.training.scores import CRITERIA
from lora_np.training.tasks import SHIFTS, Regression, Task, digit_tasks, teacher_student
from lora_np.training.watched import Point, WatchSettings, student, watch

__all__ = [
    "CRITERIA",
    "METHODS",
    "RECIPES",
    "SHIFTS",
    "Point",
    "PruneSettings",
    "Regression",
    "Settings",
    "State",
    "Task",
    "WatchSettings",
    "adapted",
    "count_trainable",
    "digit_tasks",
    "evaluate",
    "load",
    "physically_shrunk",
    "prune_and_train",
    "save",
    "start",
    "student",
    "teacher_student",
    "train",
    "watch",
]
