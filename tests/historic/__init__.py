"""Mistakes that released software has made, each seeded into a few lines that would be right without it.

seeding     what a bug is, an adapter made of one, and what the vectors and the diagnoser say of it
right       the few lines that are right
scales, layouts, merges, norms, products, gradients, rules    the bugs, by subject, with where each was reported
"""
