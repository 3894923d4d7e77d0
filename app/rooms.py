"""The table of rooms: who is where, under which address, in which group of the menu."""

from typing import NamedTuple


class Room(NamedTuple):
    """A room: its name in the menu, and its path, which names its view, its logic and its address."""

    title: str
    path: str
    group: str

    @property
    def view(self) -> str:
        """The script that draws it."""
        return f"views/{self.path}.py"

    @property
    def address(self) -> str:
        """Where it is: the first room stays at the root."""
        return "" if self == ROOMS[0] else self.path


ROOMS = (
    Room("Home", "home", ""),
    Room("Rank", "rank", "Understand"),
    Room("Cost", "cost", "Understand"),
    Room("Gradients", "grad", "Understand"),
    Room("Optimizer view", "optimizer", "Understand"),
    Room("Training", "train", "Adapt"),
    Room("Methods", "methods", "Adapt"),
    Room("Merge", "merge", "Adapt"),
    Room("Parameters", "params", "Decide"),
    Room("Which matrices", "subspace", "Decide"),
    Room("LoRAPrune", "prune", "Decide"),
    Room("Inspector", "inspect", "Decide"),
    Room("Oracle", "report", "Check"),
    Room("Glossary and quiz", "quiz", "Check"),
)


def room(path: str) -> Room:
    """Find a room by its path."""
    return next(room for room in ROOMS if room.path == path)
