"""Words for types: arrays whose shape stands in the signature.  Floor 0.

`Float[Array, "N k"]` is `typing.Annotated` under another name: readable in the source and in `help()`,
understood by type checkers, free at run time.  Shapes are checked where a user can err, by `checks`.

Dimension letters, the same in every signature:

    N  rows of a batch          d  outputs of a layer       k  inputs of a layer
    r  rank of the increment    m, n  rows and columns of a matrix that is not a layer's
    q  groups                   L  layers of a network
"""

from typing import Annotated as Bool
from typing import Annotated as Float
from typing import Annotated as Int
from typing import Any

Array = Any
"""An array of any library that follows the array API standard (or an autograd box around one)."""

__all__ = ["Array", "Bool", "Float", "Int"]
