# %% [markdown]
# # 06 · Two forms of one layer: count, predict, measure
#
# **Time:** 60 minutes · **Before:** [lesson 05](lesson:05)
#
# **Goals:** after this lesson you can
#
# - count the work of any product of matrices, and of a whole training step;
# - predict from which batch size on one form of the layer overtakes the other;
# - measure it, and say why the clock does not quite agree with the count.
#
# **The mistake this cures:** "LoRA trains 6.25 % of the numbers, so it does 6.25 % of the work. And two small
# products are always cheaper than one large one."

# %%
import numpy as np

import lora_np
from lora_np import LoraParams
from lora_np.bench import in_turns
from lora_np.cost import crossovers, linear_costs
from lora_np.teach import check, hint

# %% [markdown]
# ## 1 The same numbers by two roads
#
# Lesson 04 met two ways to compute the layer. Here they are, with the names that they keep in this project. X
# is (N, k), W₀ is (d, k), B is (d, r), A is (r, k), Y is (N, d).
#
# The first builds the weight and then applies it. It is called **lora-1**:
#
# [lora-1]
#
# The second sends X through the bottleneck. It is called **lora-2**:
#
# [lora-2]
#
# The difference is where the brackets stand: X (B A)ᵀ against (X Aᵀ) Bᵀ. Brackets do not change a product of
# matrices. They do change how much work it is.

# %%
rng = np.random.default_rng(0)
N, d, k, r, s = 5, 4, 6, 2, 2.0
X, W0 = rng.integers(-3, 4, (N, k)).astype(float), rng.integers(-3, 4, (d, k)).astype(float)
B, A = rng.integers(-3, 4, (d, r)).astype(float), rng.integers(-3, 4, (r, k)).astype(float)

Y_1 = X @ (W0 + s * (B @ A)).T
Y_2 = X @ W0.T + s * ((X @ A.T) @ B.T)
assert np.array_equal(Y_1, Y_2)  # whole numbers: nothing is rounded, so every bit agrees
assert np.array_equal(Y_1, lora_np.forward_via_weight(X, W0, LoraParams(B, A), scale=s)[0])
assert np.array_equal(Y_2, lora_np.forward(X, W0, LoraParams(B, A), scale=s)[0])
print("both forms give the same", Y_1.shape, "numbers")

# %% [markdown]
# ## 2 Count
#
# A **FLOP** is one addition or one multiplication. Multiply an (m, n) matrix by an (n, p) matrix. The result
# has m·p cells, and each is a sum of n products: about n multiplications and n additions. So it takes 2·m·n·p
# FLOPs:
#
# [cost-product]
#
# A tiny layer: d = k = 4, r = 1, and N = 2 rows.
#
# - Both forms multiply X by a (4, 4) weight: 2·2·4·4 = 64 FLOPs. A layer without LoRA pays that, too. We look
#   at what comes **on top**.
# - lora-1 multiplies B (4, 1) by A (1, 4): 2·4·1·4 = 32.
# - lora-2 multiplies X (2, 4) by Aᵀ (4, 1): 2·2·4·1 = 16. Then Z (2, 1) by Bᵀ (1, 4): 2·2·1·4 = 16. Together
#   32.
#
# A draw! Now change the number of rows. With N = 1 row lora-2 pays half, 16, and lora-1 still 32. With N = 8
# rows lora-2 pays four times as much, 128, and lora-1 still 32. Do you see it? **lora-1 pays once for a
# batch. lora-2 pays for every row.**
#
# In letters: on top of the frozen layer, lora-1 pays 2 d k r, and lora-2 pays 2 N r (d + k).


# %%
def product(m, n, p):
    """Count the FLOPs of an (m, n) by (n, p) product."""
    return 2 * m * n * p


for rows in (1, 2, 8):
    on_top_1 = product(4, 1, 4)
    on_top_2 = product(rows, 4, 1) + product(rows, 1, 4)
    print(f"N = {rows}: lora-1 pays {on_top_1} on top, lora-2 pays {on_top_2}")
    assert on_top_1 == 2 * 4 * 4 * 1
    assert on_top_2 == 2 * rows * 1 * (4 + 4)

# %% [markdown]
# If you also count the scaling by s and the additions, one FLOP for each cell, you get the full bill. F₁ is
# lora-1's and F₂ is lora-2's:
#
# [cost-forward]
#
# In plain letters: F₁ = 2 N d k + 2 d k (r + 1), and F₂ = 2 N d k + 2 N r (d + k) + 2 N d. The function
# `linear_costs` counts like that. It goes through the operations one by one.

# %%
for line in linear_costs(2, 4, 4, 1)["lora-2"].forward:
    print(f"{line.formula:16s} {line.flops:3d} FLOPs")
costs = linear_costs(N, d, k, r)
assert costs["lora-1"].forward.flops == 2 * N * d * k + 2 * d * k * (r + 1)
assert costs["lora-2"].forward.flops == 2 * N * d * k + 2 * N * r * (d + k) + 2 * N * d

# %% [markdown]
# ### Exercise 06.1 ★ · What comes on top
#
# Write `on_top(N, d, k, r)`. All four are whole numbers. Return two whole numbers: the FLOPs that lora-1 and
# that lora-2 pay in the forward pass on top of the frozen layer. Count products only, no scaling and no
# adding.
#
# Example: `on_top(8, 4, 4, 1)` is `(32, 128)`.


# %% tags=["exercise"]
def on_top(N, d, k, r):
    """Return two counts: lora-1's and lora-2's."""
    # BEGIN SOLUTION
    return 2 * d * r * k, 2 * N * k * r + 2 * N * r * d
    # END SOLUTION


# %% tags=["check"]
check("06.1", on_top)

# %% [markdown]
# ## 3 Predict
#
# One form pays once, the other pays per row. So there is a number of rows where they are even. We call it N*.
# Below it lora-2 is cheaper, above it lora-1 is.
#
# **Guess first.** A layer with d = k = 256 has rank 8. You raise the rank to 64. Does N* grow, shrink, or
# stay?
#
# Now set both bills equal: 2 d k r = 2 N r (d + k). There is an r on each side. It cancels:
#
# [cost-crossover]
#
# In words: N* = d k / (d + k), whatever the rank is. So it stays. A higher rank makes both forms more
# expensive, in the same proportion. For a square layer N* is half the width.

# %%
for d, k, r in ((256, 256, 8), (256, 256, 64), (1024, 256, 8)):
    N_star = d * k / (d + k)
    print(f"d = {d}, k = {k}, r = {r}:  N* = {N_star}")
    assert N_star == float(crossovers(d, k, r).forward_rows)

# %% [markdown]
# For the layer of 256 × 256 the answer is 128.0 rows. In a chat a model reads one word at a time: N = 1, and
# lora-2 wins by far. In training a batch has thousands of rows, and in the **forward** pass lora-1 takes
# fewer FLOPs. "Two small products are always cheaper" is wrong.
#
# The picture counts every FLOP, the scaling and the adding, too. That moves the crossing point a little.

# %% tags=["picture"]
from lora_np.figures import cost
from lora_np.figures.cost_scene import ROWS, cost_scene
from lora_np.teach import picture

scene = cost_scene(512, 256, 256, 8, phase="forward")
picture(cost.crossing(ROWS, scene.ratios, crossover=scene.crossover, here=512, phase="forward"))

# %% [markdown]
# See it move in the Cost room: [one row](app:cost?tokens=1&phase=forward), [4096
# rows](app:cost?tokens=4096&phase=forward), and [4096 rows of a layer that is four times as
# high](app:cost?tokens=4096&d=1024&phase=forward).

# %%
for rows in (1, 128, 4096):
    costs = linear_costs(rows, 256, 256, 8)
    frozen = costs["frozen"].forward.flops
    one, two = (costs[form].forward.flops / frozen for form in ("lora-1", "lora-2"))
    print(f"N = {rows:4d}: forward over the frozen layer: lora-1 {one:.3f}, lora-2 {two:.3f}")

# %% [markdown]
# Look at the size of these numbers, not only at their order. At N = 1, lora-1 does ten times the work of the
# frozen layer. At N = 4096 the two differ by a few percent. So lora-2 can lose a little, and lora-1 can lose
# a lot.
#
# ### Exercise 06.2 ★★ · From which row on?
#
# Write `first_row_to_build(d, k)`. It returns a whole number: the smallest N for which lora-1 takes **fewer**
# FLOPs in the forward pass than lora-2. Count products only. A draw is not fewer.
#
# Example: `first_row_to_build(4, 4)` is 3, because N = 2 is a draw.


# %% tags=["exercise"]
def first_row_to_build(d, k):
    """Return a whole number of rows."""
    # BEGIN SOLUTION
    return d * k // (d + k) + 1
    # END SOLUTION


# %% tags=["check"]
check("06.2", first_row_to_build)

# %% [markdown]
# ## 4 Backward turns the tables
#
# Training also needs the gradients. Lesson 05 went back through the bottleneck:
#
# [grad-2]
#
# lora-1 has no bottleneck. It knows only W, so it first makes the gradient of the whole weight, gW. Then it
# asks how B and A enter W. In W = W₀ + s B A there is a product, so the rule of lesson 05 applies once more:
#
# [grad-1]
#
# In words: gW = gYᵀ X, then gB = s gW Aᵀ and gA = s Bᵀ gW. And gX = gY W, in one go.


# %%
def all_equal(ours, theirs):
    """Return whether all three gradients agree, in every bit."""
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


gY = rng.integers(-3, 4, Y_1.shape).astype(float)
gW = gY.T @ X  # (d, k): as large as the weight
through_weight = gY @ (W0 + s * (B @ A)), s * (gW @ A.T), s * (B.T @ gW)
gX, g = lora_np.backward(gY, X, X @ A.T, W0, LoraParams(B, A), scale=s)
gX_via, g_via = lora_np.backward_via_weight(gY, X, W0 + s * (B @ A), LoraParams(B, A), scale=s)
assert all_equal(through_weight, (gX, *g))  # lora-2's
assert all_equal(through_weight, (gX_via, *g_via))  # lora-1's
print("both forms give the same gradients")

# %% [markdown]
# The same gradients again, but look at the bill. gW = gYᵀ X is a (d, N) by (N, k) product: 2 N d k FLOPs. It
# costs as much as the whole frozen layer, and it is paid for **every row**. Now there is nothing left that
# lora-1 pays only once, except small change:
#
# [cost-backward]
#
# F₁ and F₂ are the bills of lora-1 and lora-2 once more. F₁ begins with 4 N d k, F₂ with 2 N d k only, and
# then has 4 N r (d + k) for its thin products. Is there a rank at which lora-2 loses here? Only if its thin
# products, 4 N r (d + k), cost more than gW, 2 N d k. Solve for r:
#
# [cost-rank]
#
# In words: up to rank d k / (2 (d + k)) lora-2's backward takes fewer products for every N. For d = k = 256
# that is rank 64.

# %%
assert crossovers(256, 256, 8).backward_rank == 256 * 256 / (2 * (256 + 256)) == 64
print(
    "up to rank", crossovers(256, 256, 8).backward_rank, "lora-2 takes fewer products in backward, at every N"
)

costs = linear_costs(4096, 256, 256, 8)
full = costs["full"].step_flops
for form in ("full", "lora-1", "lora-2", "frozen"):
    print(f"{form:7s} forward and backward: {costs[form].step_flops / full:.3f} of full fine-tuning")
trained = 8 * (256 + 256) / (256 * 256)
print(f"trained numbers: {trained:.2%} of the weight's")
assert costs["lora-1"].step_flops > full > costs["lora-2"].step_flops > costs["frozen"].step_flops
assert trained == 0.0625

# %% [markdown]
# Two lessons are in this table.
#
# - **lora-1 does more work than full fine-tuning.** It computes everything that full fine-tuning computes,
#   and then projects. For training, use lora-2.
# - **lora-2 trains 6.25% of the numbers, and still does 0.731 of the work.** Forward goes through W₀, and the
#   gradient of the input goes back through W₀. Both remain. Only the third large product, gW, is gone. So a
#   training step can never fall below two thirds of full fine-tuning's work. That is the last line, 0.667:
#   the frozen layer alone.
#
# What does fall with the number of trained numbers is the memory for their gradients and for the optimizer.
# And lora-2 never makes a (d, k) array, while lora-1 holds two, W and gW:
#
# [cost-peak]
#
# M₁ and M₂ count the numbers that exist at once, beside the arguments. M₁ begins with 2 d k: these are W and
# gW. In M₂ there is no d k at all.

# %%
costs = linear_costs(64, 4096, 4096, 8, "float32")
for form in ("lora-1", "lora-2"):
    print(f"{form}, 4096 × 4096, 64 rows: peak extra memory {costs[form].step_peak_bytes / 1e6:.1f} MB")
assert costs["lora-1"].step_peak_bytes > 2 * 4096 * 4096 * 4
assert costs["lora-2"].step_peak_bytes < 4096 * 4096 * 4 / 10

# %% [markdown]
# See the whole step in the Cost room: [4096 rows, forward and backward](app:cost?tokens=4096&phase=step), and
# [a rank that is far too high](app:cost?d=64&k=64&layer_rank=64&phase=step).
#
# ### Exercise 06.3 ★★ · Backward through the weight
#
# Write `backward_via_weight(gY, X, W, B, A, scale)`. It gets gY (N, d), X (N, k), the **adapted** weight W
# (d, k), which is W₀ + s B A already, B (d, r), A (r, k) and the number `scale`. Return gX (N, k), gB (d, r)
# and gA (r, k), in this order.
#
# Example: gY = [[1, 0, 2]], X = [[3, 1]], W = [[5, 2], [0, 1], [-3, -1]], B = [[1], [0], [-1]], A = [[2, 1]]
# and scale = 2 is the layer of lesson 05. It gives [[-1, 0]], [[14], [0], [28]] and [[-6, -2]].


# %% tags=["exercise"]
def backward_via_weight(gY, X, W, B, A, scale):
    """Return gX (N, k), gB (d, r), gA (r, k)."""
    # BEGIN SOLUTION
    gW = gY.T @ X
    return gY @ W, scale * (gW @ A.T), scale * (B.T @ gW)
    # END SOLUTION


# %% tags=["check"]
check("06.3", backward_via_weight)

# %% [markdown]
# ### Exercise 06.4 ★★★ · The bill of a training step
#
# Write `step_flops(N, d, k, r)`. Return three whole numbers: the FLOPs of one forward and one backward pass
# in full fine-tuning, in lora-1 and in lora-2. Count products only. Every backward computes gX, because the
# layers below need it.
#
# List the products of each form first, then count them. Full fine-tuning has three: Y = X Wᵀ, gX = gY W and
# gW = gYᵀ X.
#
# Example: `step_flops(2, 4, 4, 1)` is `(192, 288, 224)`.


# %% tags=["exercise"]
def step_flops(N, d, k, r):
    """Return three counts: full fine-tuning's, lora-1's, lora-2's."""
    # BEGIN SOLUTION
    large, increment, thin = 2 * N * d * k, 2 * d * k * r, 2 * N * r * (d + k)
    # lora-1: B A, Y; gW, gX, gB, gA.   lora-2: X W0, Z, Z B; gZ, gY W0, gZ A, gB, gA.
    return 3 * large, 3 * large + 3 * increment, 2 * large + 3 * thin
    # END SOLUTION


# %% tags=["check"]
check("06.4", step_flops)

# %% [markdown]
# ## 5 Measure
#
# Enough counting. Does a clock agree? We time both forms in the forward pass, for few rows and for many. To
# be fair they take turns, and the fastest round of each counts: noise only ever adds.
#
# **Write down your prediction first:** who wins at 4 rows, and who wins at 2048?

# %%
rng = np.random.default_rng(0)
d = k = 256
W0 = rng.standard_normal((d, k))
p = LoraParams(rng.standard_normal((d, 8)), rng.standard_normal((8, k)))
for rows in (4, 128, 2048):
    X = rng.standard_normal((rows, k))
    times = in_turns(
        {
            "lora-1": lambda X=X: lora_np.forward_via_weight(X, W0, p, scale=0.5),
            "lora-2": lambda X=X: lora_np.forward(X, W0, p, scale=0.5),
        },
        budget_s=0.3,
    )
    shown = ", ".join(f"{form} {ms:.3f} ms" for form, ms in times.items())
    print(f"measured at N = {rows:4d}: {shown}, lora-2 over lora-1: {times['lora-2'] / times['lora-1']:.2f}")

# %% [markdown]
# These times are your machine's, so there are no numbers about them in this text. What you will most likely
# see:
#
# - With few rows lora-2 wins clearly. The count said so.
# - At the predicted crossing the times need not be equal.
# - With many rows the count says that lora-1 wins by a few percent. On most machines it wins by more.
#
# Why more? FLOPs are not time. An operation also has to fetch its operands from memory and to store its
# result:
#
# [cost-roofline]
#
# In words: each operation takes as long as its arithmetic at the machine's rate R, or as its bytes at the
# memory's bandwidth β, whichever is longer. A large product uses each number that it fetches many times. A
# thin product, a scaling, and an addition use it a few times or once. lora-2 has all three of these on arrays
# of N rows.

# %%
costs = linear_costs(2048, 256, 256, 8)
for form in ("lora-1", "lora-2"):
    phase = costs[form].forward
    print(f"{form} at 2048 rows: {phase.flops / 1e6:.0f} MFLOP, {phase.bytes_moved / 1e6:.1f} MB moved")
assert costs["lora-2"].forward.flops < 1.1 * costs["lora-1"].forward.flops
assert costs["lora-2"].forward.bytes_moved > 2 * costs["lora-1"].forward.bytes_moved

# %% [markdown]
# A few percent more arithmetic, but more than twice the bytes. So count both before you trust a prediction.
# And measure anyway: the [Cost room](app:cost?tokens=512&phase=forward) has a button for it, for backward,
# too.
#
# ## Exit quiz
#
# **1.** How many FLOPs does a (32, 10) by (10, 4) product take?
#
# - a) 32·10·4
# - b) 2·32·4
# - c) 2·32·10·4
# - d) 32·10 + 10·4
#
# **2.** You raise the rank from 8 to 64. What happens to N*, the number of rows where both forward passes
# cost the same?
#
# - a) it stays
# - b) it becomes 8 times as large
# - c) it becomes 8 times as small
# - d) that depends on α
#
# **3.** A layer trains 6.25% of its numbers with lora-2. How much of full fine-tuning's work is a training
# step?
#
# - a) about 6.25%
# - b) about a third
# - c) more than all of it
# - d) more than two thirds
#
# **4.** Why is lora-1's backward so expensive?
#
# - a) it has to build B A again
# - b) it forms gW, a product over all rows that costs as much as the frozen layer
# - c) it updates W₀
# - d) it cannot reuse Z
#
# **5.** A chat model produces one word at a time, N = 1, with an adapter that is not merged. Which form does
# less work?
#
# - a) lora-2
# - b) lora-1
# - c) both the same
# - d) that depends on the rank


# %% tags=["exercise"]
def quiz():
    """Return the letters of your answers, in order."""
    # BEGIN SOLUTION
    return "c", "a", "d", "b", "a"
    # END SOLUTION


# %% tags=["check"]
check("06.quiz", quiz)

# %% [markdown] tags=["solution"]
# 1. **c.** 32·4 cells, each with 10 multiplications and 10 additions.
# 2. **a.** The rank cancels: N* = d k / (d + k).
# 3. **d.** Forward and gX still go through W₀: two of three large products remain, and the thin ones come on
#    top.
# 4. **b.** gW = gYᵀ X takes 2 N d k FLOPs, however small the rank is.
# 5. **a.** N = 1 is below N* for every layer with more than 2 rows and 2 columns, so going through the
#    bottleneck is cheaper, at any rank.

# %% [markdown]
# ## Where next
#
# - [Lesson 07](lesson:07) trains a layer at last.
# - [Lesson 08](lesson:08) merges: build the weight once, and pay nothing on top from then on.
# - [Cost room](app:cost?tokens=128&layer_rank=64&phase=forward): stand on the crossing, and change the rank.
