"""Small networks of dense layers, forward and backward written out, LoRA on any of them.  Floor 4.

`dense` is one layer, `activations` bend its output, `losses` measure the last one, `network` chains them.  `attention`
lets the tokens of a sequence look at each other, and `transformer` is one block of it that names pictures.  Every
forward returns what its backward needs, under a name; there is no tape and no hidden state.
"""
