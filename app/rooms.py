"""The table of rooms: who is where, under which address, in which group of the menu."""

from typing import NamedTuple


class Room(NamedTuple):
    """A room: its name in the menu, its path, which names its view, its logic and its address, and its group.

    `lesson` is the number of the lesson in which a student makes by hand what the room shows.
    """

    title: str
    path: str
    group: str
    lesson: str = ""

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
    Room("Lessons", "lessons", ""),
    Room("Rank", "rank", "Understand", "01"),
    Room("Cost", "cost", "Understand", "06"),
    Room("Gradients", "grad", "Understand", "05"),
    Room("Optimizer view", "optimizer", "Understand", "10"),
    Room("Training", "train", "Adapt", "07"),
    Room("Methods", "methods", "Adapt", "11"),
    Room("Merge", "merge", "Adapt", "08"),
    Room("Parameters", "params", "Decide", "11"),
    Room("Which matrices", "subspace", "Decide", "09"),
    Room("LoRAPrune", "prune", "Decide", "13"),
    Room("Inspector", "inspect", "Decide"),
    Room("Oracle", "report", "Check", "15"),
    Room("Glossary and quiz", "quiz", "Check"),
)


def room(path: str) -> Room:
    """Find a room by its path."""
    return next(room for room in ROOMS if room.path == path)
