"""Small networks of dense layers, forward and backward written out, LoRA on any of them.  Floor 4.

`dense` is one layer, `activations` bend its output, `losses` measure the last one, `network` chains them.  Every
forward returns what its backward needs, under a name; there is no tape and no hidden state.
"""
