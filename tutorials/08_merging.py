# %% [markdown]
# # 08 · Merge, unmerge, swap, serve many
#
# **Time:** 75 minutes · **Before:** [07](lesson:07)
#
# **Goals:** You will be able to
#
# 1. merge an adapter into its weight, and say exactly what rounding takes;
# 2. add several adapters to one weight, and give the rank of the sum;
# 3. serve a batch in which every row uses another adapter, without merging any.
#
# **The mistake this cures:** "Merging is exact, and unmerging gives me my weight back."

# %%
from dataclasses import replace
from decimal import Context, Decimal

import numpy as np

from lora_np import merging
from lora_np.adapters import LoraAdapter, combine_cat, forward_mixed, merge_loss, rounded
from lora_np.figures import merge_scene, mixed_scene
from lora_np.lora import LoraParams
from lora_np.teach import check, hint, picture

# %% [markdown]
# ## 1. Merging is one addition
#
# A trained adapter is a frozen weight W₀ of shape (d, k), two factors B (d, r) and A (r, k), and a scale s.
# To merge means: multiply the factors out, once, and add.
#
# [lora-merge]
#
# By hand, with d = k = 2 and r = 1:
#
#     W₀ = [1 0]    B = [1]    A = [3 4]    s = 0.5
#          [0 1]        [2]
#
#     s B A = 0.5 · [3 4] = [1.5 2]      W = [2.5 2]
#                   [6 8]   [3   4]          [3   5]
#
# Does the merged layer say the same? Send in x = (1, 1). Merged: W x = (4.5, 8). Unmerged: W₀ x = (1, 1), A x
# = 7, and s B · 7 = (3.5, 7). Together (4.5, 8). The same.
#
# That is the promise of LoRA: after merging, the layer is one weight of the old size. It costs at use what it
# cost before.

# %%
W0, s = np.eye(2), 0.5
p = LoraParams(B=np.array([[1.0], [2.0]]), A=np.array([[3.0, 4.0]]))
W = W0 + s * (p.B @ p.A)
x = np.ones(2)
print("increment:", (s * (p.B @ p.A)).tolist(), " merged weight:", W.tolist())
print("merged:", W @ x, " unmerged:", W0 @ x, "+", s * p.B @ (p.A @ x))
assert np.array_equal(W, merging.merge(W0, p, scale=s))

# %% [markdown]
# ### Exercise 08.1 ★ · Merge
#
# Write `merge(W0, B, A, scale)`. Return the merged weight, shape (d, k). The frozen weight belongs to
# somebody else, who may need it again: do not write into it.
#
# Example: the weight and the factors above give [[2.5, 2], [3, 5]].


# %% tags=["exercise"]
def merge(W0, B, A, scale):
    """Return the weight with the increment added."""
    # BEGIN SOLUTION
    return W0 + scale * (B @ A)
    # END SOLUTION


# %% tags=["check"]
check("08.1", merge)

# %% [markdown]
# ## 2. What rounding takes
#
# On paper both ways are equal. In a computer every number is rounded. A number type keeps p binary digits of
# a number, whatever its size:
#
#     float64: p = 53      float32: p = 24      float16: p = 11      bfloat16: p = 8
#
# Large models are often kept in bfloat16: 8 digits. Then the numbers from 1 to 2 lie 1/128 apart: 1,
# 1.0078125,
# 1.015625, and so on. From 2 to 4 the steps are twice as wide, from 0.5 to 1 half as wide.
#
# Now merge. The weight is 1 and the increment is 0.003. The true sum is 1.003. It lies between 1 and
# 1.0078125, and 1 is nearer. So the merged weight is 1. **The increment is gone.** With 0.005 the sum rounds
# up, to 1.0078125.
#
# The rule: what is smaller than half a step of the weight is lost whole.
#
# [increment-unchanged]

# %%
for delta in (0.003, 0.005):
    print(f"1 + {delta} in bfloat16 is {rounded(np.array(1 + delta), 'bfloat16')}")
print("the steps after 1:", [float(1 + n / 128) for n in range(3)])
assert rounded(np.array(1.003), "bfloat16") == 1

# %% [markdown]
# How do you round to p digits yourself? Say |x| lies between 2ᵉ and 2ᵉ⁺¹. The p digits begin at 2ᵉ, so the
# last one is worth 2ᵉ⁻ᵖ⁺¹. That is the step. Divide by the step, round to a whole number, multiply again.
#
# By hand: round 5.3 to p = 3 digits. It lies between 4 = 2² and 8, so e = 2, and the step is 2²⁻³⁺¹ = 1. The
# answer is 5. Round 2.5 to p = 2 digits: e = 1, the step is 1, and 2.5 lies exactly between 2 and 3. Such a
# tie goes to the *even* whole number of steps, here 2. That is the rule of all common number types, and what
# `np.rint` does.

# %%
print("5.3 in steps of 1:", np.rint(5.3), " 2.5 in steps of 1:", np.rint(2.5), " and 3.5:", np.rint(3.5))
assert (np.rint(2.5), np.rint(3.5)) == (2, 4)

# %% [markdown]
# ### Exercise 08.2 ★★ · Round to a few digits
#
# Write `round_to(x, digits)`. `x` is an array of float64 of any shape; `digits` is p, an int. Return the
# array with every number rounded to p binary digits, ties to even, still as float64. Zero stays zero.
#
# Example: `round_to(np.array([5.3, 2.5, 0.0]), 3)` is [5, 2.5, 0], and with 2 digits it is [6, 2, 0].
#
# `np.frexp(x)` helps. It returns m and q with x = m · 2 to the power q, where |m| is from 0.5 up to 1. (Look
# at what that makes of e.) Write powers as `2.0 ** q`: with the whole number 2, NumPy refuses a negative q.


# %% tags=["exercise"]
def round_to(x, digits):
    """Return x rounded to so many binary digits, ties to even."""
    # BEGIN SOLUTION
    _, power = np.frexp(x)  # |x| lies from 2 ** (power - 1) up to 2 ** power, so e = power - 1
    step = np.ldexp(1.0, power - digits)
    return np.rint(x / step) * step
    # END SOLUTION


# %% tags=["check"]
check("08.2", round_to)

# %% [markdown]
# Now a real adapter. It is one of four that ship, each for another change of the digits; this one learned to
# read them tilted by 45 degrees. We merge it in four number types, and read 359 held-out digits both ways,
# merged and unmerged.

# %%
rows = merge_scene.merge_scene("rotated-45")
for row in rows:
    print(f"{row.dtype:8}: scores up to {row.output_size:.1f} differ by up to {row.output_error:.1e}; "
          f"{row.answers_changed} of {row.digits} digits are read differently")  # fmt: skip
assert 0 < rows[0].output_error < 1e-12 < 1e-3 < rows[-1].output_error

# %% [markdown]
# Merged and unmerged never agree to the last bit, not even in float64. In float64 and float32 nobody will
# notice. In bfloat16 the scores differ in the third digit, and a digit on the edge may be read differently.
# So do not ask "is it equal?". Ask "is it within what this number type allows?".
#
# And if they differ by much more than that? Then suspect the base. An adapter fits only the very weight that
# it was trained beside. Another base, or one rounded in another way, is a different weight.
#
# A weak adapter suffers most. Make the increment a hundredth as large. In bfloat16, more than half of the
# weights do not notice that anything was merged. The adapter beside the weight, unmerged, would still act.

# %%
for row in merge_scene.merge_scene("rotated-45", strength=0.01):
    print(f"{row.dtype:8}: {row.untouched:.0%} of the weights stay as they were")
adapter = LoraAdapter(merge_scene.library().adapters["rotated-45"][0], 0.02)
loss = merge_loss(merge_scene.library().base.layers[0].W, adapter, dtype="bfloat16")
print(f"first layer: {loss.lost:.0%} of the increment is lost in bfloat16")
assert row.untouched > 0.5

# %% [markdown]
# Watch it in the app: [a weak adapter in bfloat16](app:merge?merge_look=merge&merge_strength=0.01).
#
# ## 3. Unmerging does not bring the bits back
#
# To unmerge, subtract the same increment:
#
# [lora-unmerge]
#
# Try it with numbers of two decimal digits. The weight is 0.52 and the increment 7.8. Their sum is 8.32, and
# two digits of it are kept: 8.3. Subtract 7.8 again: 0.5. The last digit of the weight is gone. It was cut
# off when the sum was rounded, and no subtraction can know it.
#
# In float64 the same happens, sixteen digits down:

# %%
two = Context(prec=2)
merged = two.add(Decimal("0.52"), Decimal("7.8"))
print(
    "two decimal digits:",
    Decimal("0.52") + Decimal("7.8"),
    "becomes",
    merged,
    "and back:",
    two.subtract(merged, Decimal("7.8")),
)
print("float64: 0.1 + 0.7 - 0.7 =", 0.1 + 0.7 - 0.7)
for row in rows:
    print(f"{row.dtype:8}: after merging and unmerging, {row.off:.0%} of the weights are not what they were")
assert all(0.1 < row.off < 0.3 for row in rows)

# %% [markdown]
# Nearly a fifth of the weights come back different, in every type, float64 included. The rest come back bit
# for bit. [See which](app:merge?merge_look=merge&merge_adapter=rotated-45).
#
# **So if you want the weight back, keep it.** `Merged` does: it holds the weight from before, and refuses to
# merge twice.

# %%
W0 = merge_scene.library().base.layers[0].W
state = merging.Merged(W0).merge(adapter.p, scale=2.0, adapter="tilted")
print("every bit is back:", bool((state.unmerge().W == W0).all()))
assert (state.unmerge().W == W0).all()

# %% [markdown]
# ### Exercise 08.3 ★★★ · Catch the bad merges
#
# This time you write the test. `test_merge(merge)` is given somebody's `merge(W0, B, A, scale)`, and must
# find out whether it is right. Return True if it is. Return False, or let an `assert` fail, if it is not.
#
# Your test will meet right merges and wrong ones. All the right ones round differently in the last digit, so
# `==` on floats is too strict. The wrong ones have each one mistake of this lesson or the ones before. Think:
# which W₀, B, A and scale does your test need, so that *no* such mistake can hide? What would hide if r = 1?
# If the scale were 1? If W₀ were zero? If B A were symmetric? And what else should be looked at after the
# call, beside the result?
#
# Example: `test_merge(lambda W0, B, A, scale: W0 + B @ A)` must return False or fail.


# %% tags=["exercise"]
def test_merge(merge):
    """Return whether this merge is right."""
    # BEGIN SOLUTION
    rng = np.random.default_rng(5)
    W0, B, A = rng.normal(size=(4, 4)), rng.normal(size=(4, 2)), rng.normal(size=(2, 4))
    before = W0.copy()
    W = merge(W0, B, A, 0.3)
    return np.array_equal(W0, before) and np.allclose(W, before + 0.3 * (B @ A), rtol=1e-12, atol=1e-12)
    # END SOLUTION


# %% tags=["check"]
check("08.3", test_merge)

# %% [markdown]
# ## 4. Swap: one base, many tasks
#
# Four tasks, four adapters, one frozen base. To change task, take one increment out and put the next one in:
#
# [adapters-swap]
#
# How much has to move? The base of our digit network holds 13098 numbers, one adapter 1576. Four whole
# networks would be four times 13098. And is each adapter really for its own task? Read every task with every
# model: rows are models, columns are tasks.

# %%
table = merge_scene.swap_matrix()
print("tasks: ", *merge_scene.TASKS)
for name, line in zip(("base", *merge_scene.TASKS[1:]), table, strict=True):
    print(f"{name:11}", " ".join(f"{share:6.1%}" for share in line))
print("numbers to move, and in the whole network:", *merge_scene.numbers_to_move())
assert table.diagonal().min() > 0.8
assert table[1, 0] < 0.6  # the adapter for tilted digits has unlearned the upright ones

# %% tags=["picture"]
from lora_np.figures import merge as merge_pictures
from lora_np.figures import merge_scene
from lora_np.teach import picture

models = ["base", *merge_scene.SHIFTED]
picture(merge_pictures.swap_heatmap(merge_scene.swap_matrix(), tasks=merge_scene.TASKS, models=models))

# %% [markdown]
# Look down the first column. The adapter that reads tilted digits has half forgotten the upright ones. An
# adapter is for its own task, and the base is still there for the old one, because nobody overwrote it.
#
# A warning about swapping by subtraction. Each swap rounds, and the errors add up. Below is the largest error
# of a weight after 1, 16 and 64 swaps. Where that matters, keep W₀ and merge each adapter into it afresh.

# %%
drift = merge_scene.swap_drift(swaps=[1, 16, 64])
for name, errors in drift.items():
    print(f"{name:8}:", ", ".join(f"{error:.0e}" for error in errors))
assert all(errors[2] > errors[0] for errors in drift.values())

# %% [markdown]
# ## 5. Two adapters in one weight: what rank has the sum?
#
# You may also want two tasks at once, and add both increments. Is there *one* adapter that does the same?
#
# Adding the factors looks natural: B₁ + B₂ and A₁ + A₂. Try it by hand, with r = 1 and both scales 1:
#
#     B₁ = [1]   A₁ = [1 0]        B₂ = [0]   A₂ = [0 1]
#          [0]                          [1]
#
# The sum of the products is [1 0; 0 1], the identity, of rank 2. The product of the sums is [1 1; 1 1], of
# rank 1. It brought in two terms that nobody trained: B₁ A₂ and B₂ A₁. And rank 1 can never make the
# identity.
#
# What works is to put the factors side by side. Then the ranks add: 4 and 4 make 8.
#
# [combine-cat]

# %%
B1, A1 = np.array([[1.0], [0.0]]), np.array([[1.0, 0.0]])
B2, A2 = np.array([[0.0], [1.0]]), np.array([[0.0, 1.0]])
print("sum of the products:", (B1 @ A1 + B2 @ A2).tolist())
print("product of the sums:", ((B1 + B2) @ (A1 + A2)).tolist())
two_tasks = [LoraAdapter(merge_scene.library().adapters[name][0], 2.0) for name in ("rotated-45", "inverted")]
both = combine_cat(two_tasks)
total = two_tasks[0].delta() + two_tasks[1].delta()
print("real adapters side by side:", both.p.B.shape, both.p.A.shape, "of rank", np.linalg.matrix_rank(total))
assert np.allclose(both.delta(), total, rtol=0, atol=1e-12)
assert np.linalg.matrix_rank(total) == 8

# %% [markdown]
# ### Exercise 08.4 ★★ · Side by side
#
# Write `side_by_side(B1, A1, s1, B2, A2, s2)`. The shapes are B1 (d, r₁), A1 (r₁, k), B2 (d, r₂), A2 (r₂, k);
# the scales are numbers, and the ranks may differ. Return one `B, A` of rank r₁ + r₂ whose scale is 1: B A
# must be the sum of both increments, s₁ B₁ A₁ + s₂ B₂ A₂.
#
# Example: with the factors above and s₁ = 3, s₂ = 1, the product B A is [[3, 0], [0, 1]]. Whether the 3
# stands in B or in A is up to you.


# %% tags=["exercise"]
def side_by_side(B1, A1, s1, B2, A2, s2):
    """Return one B and one A that make the sum of both increments, at scale 1."""
    # BEGIN SOLUTION
    return np.concatenate([s1 * B1, s2 * B2], axis=1), np.concatenate([A1, A2], axis=0)
    # END SOLUTION


# %% tags=["check"]
check("08.4", side_by_side)

# %% [markdown]
# The exact sum is not always what reads best; [try the other ways to combine](app:merge?merge_look=combine).
#
# ## 6. Serve many at once, and merge none
#
# A merged weight serves one adapter. Suppose a server holds one base and many adapters, and every row of a
# batch comes from another user. Merge for each row? Better: leave all of them unmerged. The frozen product X
# W₀ᵀ is the same for all rows. Only the thin part differs:
#
# [adapters-mixed]
#
# Here x_n is row n of X, of shape (k,), and t(n) says which adapter it uses. Below, a batch of 16 digits from
# five tasks goes through the network in one pass, each row with its own adapter.

# %%
scene = mixed_scene.mixed_scene(list(merge_scene.TASKS), 16, layers="a layer of 4096 × 4096")
print(
    f"of 16 digits, {sum(scene.right)} are read rightly; with one adapter for all, {scene.one_for_all * 16:.0f}"
)
print("as if each row went alone, to 1e-12:", max(scene.differences) < 1e-12)

X, W0 = np.random.default_rng(0).normal(size=(3, 64)), merge_scene.library().base.layers[0].W
named = {name: LoraAdapter(factors[0], 2.0) for name, factors in merge_scene.library().adapters.items()}
users = ["inverted", None, "rotated-90"]  # None is the base alone
Y, _ = forward_mixed(X, W0, named, users)
for n, name in enumerate(users):
    own = W0 if name is None else merging.merge(W0, named[name].p, scale=2.0)
    assert np.allclose(Y[n], own @ X[n], rtol=0, atol=1e-12)  # as if it were merged for this row

# %% [markdown]
# What does it cost? Count it for a layer of 4096 × 4096 at rank 8, with the same 16 rows. The adapters hold
# few numbers, so they can all lie ready. Merging each in turn must write a whole weight each time.

# %%
for way, cost in scene.costs.items():
    print(
        f"{way:20} {cost.flops / 1e6:5.0f} million operations, {cost.moved / 1e6:.0f} million weights moved"
    )
share = 8 * (4096 + 4096) / (4096 * 4096)
print(f"an unmerged adapter of rank 8 adds {share:.1%} to the products of a row")
mixed, apart, merged = scene.costs.values()
assert mixed.moved < apart.moved < merged.moved

# %% [markdown]
# An unmerged adapter adds 0.4% to the work of a row. So "no delay at all" does need merging, but "hardly any
# arithmetic" does not. (On a graphics card, two more small products also take two more launches. Measure
# before you decide.) See the counts move with the batch: [five tasks in one batch](app:merge?merge_look=mix).
#
# ### Exercise 08.5 ★★ · A batch of many users
#
# Write `serve(X, W0, B, A, scale, which)`. There are T adapters of one rank, stacked:
#
# - `X` (N, k) and `W0` (d, k); `B` (T, d, r), `A` (T, r, k), `scale` (T,);
# - `which` (N,), whole numbers: row n uses adapter `which[n]`, and −1 means the base alone.
#
# Return Y (N, d). A loop over the adapters or over the rows is fine.
#
# Example: T = 1, W0 = [[1]], B = [[[2]]], A = [[[3]]], scale = [0.5], X = [[1], [1]] and which = [0, −1] give
# Y = [[4], [1]]: the first row gets 1 + 0.5 · 2 · 3, the second only the base.


# %% tags=["exercise"]
def serve(X, W0, B, A, scale, which):
    """Return each row's output through the base and its own adapter."""
    # BEGIN SOLUTION
    Y = X @ W0.T
    for t in range(len(scale)):
        rows = which == t
        Y[rows] += scale[t] * ((X[rows] @ A[t].T) @ B[t].T)
    return Y
    # END SOLUTION


# %% tags=["check"]
check("08.5", serve)

# %% [markdown]
# ## Exit quiz
#
# **1.** You merge an adapter in float64 and unmerge it at once. What do you get?
#
# - a) The old weight, bit for bit: float64 is exact enough.
# - b) Most weights bit for bit, and some off in the last digit.
# - c) The old weight, if the scale was a power of two.
# - d) Nothing useful: merging cannot be undone.
#
# **2.** A weight in bfloat16 is 1, its increment is 0.003. What happens when you merge?
#
# - a) The weight becomes 1.003.
# - b) It becomes 1.0078125, the next number up.
# - c) An error: the number does not fit the type.
# - d) Nothing: the weight stays 1.
#
# **3.** You add an adapter of rank 4 to one of rank 8, on the same weight. What rank has the sum?
#
# - a) At most 12.
# - b) 8, the larger one.
# - c) 6, the mean.
# - d) 4 times 8.
#
# **4.** A server has one base and a hundred adapters. Every row of a batch may use another. What is cheapest?
#
# - a) Keep a hundred merged copies of the weight.
# - b) Merge and unmerge for each row.
# - c) Leave all unmerged: one frozen product for all rows, thin products by row.
# - d) Add all hundred increments, and serve everyone with the sum.


# %% tags=["exercise"]
def quiz():
    """Return your letters, in order."""
    # BEGIN SOLUTION
    return "b", "d", "a", "c"
    # END SOLUTION


# %% tags=["check"]
check("08.quiz", quiz)

# %% [markdown] tags=["solution"]
# 1. b: about a fifth were off in our example. The sum was rounded, and the digit that was cut off is gone.
# 2. d: the step at 1 is 1/128, and 0.003 is below half of it.
# 3. a: side by side, the ranks add. It can be less if the adapters share directions.
# 4. c: the frozen product is shared. Copies and merging move whole weights; a sum mixes the tasks.
#
# %% [markdown]
# ## Where next
#
# - Swap, combine and mix the same four adapters in the app: [the merging room](app:merge?merge_look=swap).
# - Stuck? `hint("08.2", 1)`, then 2, then 3.
# - [Lesson 09](lesson:09): which matrices should get an adapter, and which rank?
