"""Right implementations, each written in another way: none of them may fail.

writing      what a variant is, and what becomes of it
low_rank     LoRA and its kin, in twenty ways
others       the other methods, each in another form than its formula
"""
