"""Test vectors: cases with correctly rounded answers, for implementations in any language.  Floor 6.

format      what a case is, reading and writing the JSON files
v1/         the shipped files, one for each method and operation, with their schema
"""
