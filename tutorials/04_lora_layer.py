# %% [markdown]
# # 04 · The LoRA layer: forward, scale, and a start at zero
#
# **Time:** 50 minutes · **Before:** [lesson 03](lesson:03)
#
# **Goals:** after this lesson you can
#
# - compute the output of a LoRA layer, by hand and in two lines of NumPy;
# - say what α, r and the scale s do, and what changes when you change r alone;
# - look at a start of B and A, and say which of the two can move in the first step.
#
# **The mistake this cures:** "Both factors should start at zero. Then the layer surely begins where the
# pretrained one was."

# %%
import numpy as np

from lora_np import LoraParams, backward, forward, forward_via_weight, init, scaling
from lora_np.teach import check, hint, picture

# %% [markdown]
# ## 1 One row, by hand
#
# Lesson 03 left us with a frozen weight W₀ and a wish: add a small change to it, and train only the change.
# LoRA writes that change as a product of two thin matrices.
#
# Here is a layer with k = 2 inputs and d = 3 outputs. Its change has rank r = 1.
#
# | name | shape | here | |
# |---|---|---|---|
# | x | (k) | [3, 1] | one row of input |
# | W₀ | (d, k) | [[1, 0], [0, 1], [1, 1]] | the pretrained weight, frozen |
# | A | (r, k) | [[2, 1]] | trained: reads the input |
# | B | (d, r) | [[1], [0], [-1]] | trained: writes to the output |
# | s | a number | 2 | the scale |
#
# Take a pencil. The input goes two ways.
#
# - The frozen way: W₀ x = [1·3 + 0·1, 0·3 + 1·1, 1·3 + 1·1] = [3, 1, 4].
# - The new way, first through A: z = A x = 2·3 + 1·1 = 7. Two inputs have become r = 1 number.
# - Then through B: B z = [1·7, 0·7, -1·7] = [7, 0, -7]. One number has become three outputs.
# - Times the scale: 2·[7, 0, -7] = [14, 0, -14].
# - Add both ways: [3 + 14, 1 + 0, 4 - 14] = [17, 1, -10].
#
# That is the whole layer. The narrow place in the middle, z, is called the **bottleneck**.

# %%
x = np.array([3.0, 1.0])
W0 = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
A = np.array([[2.0, 1.0]])
B = np.array([[1.0], [0.0], [-1.0]])
s = 2.0

z = A @ x
y = W0 @ x + s * (B @ z)
print("z =", z, "  y =", y)
assert y.tolist() == [17.0, 1.0, -10.0]

# %% [markdown]
# ## 2 Many rows: two lines of NumPy
#
# In practice N rows come at once, as a matrix X of shape (N, k). Each **row** of X is one example. Then the
# matrices stand on the other side, transposed: for one column we wrote W₀ x, for rows we write X W₀ᵀ.
#
# The bottleneck is now a matrix Z = X Aᵀ of shape (N, r), one row for each row of X:
#
# [lora-z]
#
# and the output Y has shape (N, d):
#
# [lora-2]
#
# In words: Y = X W₀ᵀ + s (X Aᵀ) Bᵀ. Read it from left to right and check the shapes as you go: (N, k)·(k, d)
# gives (N, d). And (N, k)·(k, r) gives (N, r), then (N, r)·(r, d) gives (N, d). They fit, so they add.

# %%
X = np.array([[3.0, 1.0], [0.0, 2.0], [1.0, -1.0], [1.0, -2.0]])  # (N, k) = (4, 2)

Z = X @ A.T  # (N, r): into the bottleneck
Y = X @ W0.T + s * (Z @ B.T)  # (N, d): both ways, added
print(Y)

Y_lib, Z_lib = forward(X, W0, LoraParams(B=B, A=A), scale=s)
assert np.array_equal(Y, Y_lib)
assert np.array_equal(Z, Z_lib)
assert Y[0].tolist() == [17.0, 1.0, -10.0]  # the row you did by hand

# %% [markdown]
# Look at the last row, the input [1, -2]. Its bottleneck is 2·1 + 1·(-2) = 0. So B has nothing to write, and
# the layer gives the frozen output. The layer changes only for inputs that A can see.
#
# ### Exercise 04.1 ★ · The layer
#
# Write `lora_forward(X, W0, B, A, scale)`. It gets X (N, k), W0 (d, k), B (d, r), A (r, k) and the number
# `scale`. It returns Y, of shape (N, d). Use NumPy only, not `lora_np`.
#
# Example: with the arrays above, the first row of the result is [17, 1, -10].
#
# Stuck? Run `hint("04.1", 1)`. There are three levels, and the third shows the equation.


# %% tags=["exercise"]
def lora_forward(X, W0, B, A, scale):
    """Return Y (N, d)."""
    # BEGIN SOLUTION
    return X @ W0.T + scale * ((X @ A.T) @ B.T)
    # END SOLUTION


# %% tags=["check"]
check("04.1", lora_forward)

# %% [markdown]
# ## 3 The change that you never build
#
# What has been added to the weight? Multiply B and A out. The product, times s, is called ΔW ("delta W"):
#
# [lora-delta]
#
# In words: ΔW = s B A. It has the shape (d, k), the same as W₀. For our numbers it is 2·[[2, 1], [0, 0], [-2,
# -1]] = [[4, 2], [0, 0], [-4, -2]]. Every row is a multiple of [2, 1], the row of A. That is what rank 1
# means.
#
# So there is a second way to compute Y. Build the adapted weight W first, then apply it:
#
# [lora-weight]
#
# In words: W = W₀ + s B A, and then Y = X Wᵀ. Both ways give the same output. The way of section 2 never
# makes the large matrix B A. [Lesson 06](lesson:06) asks which one is cheaper, and the answer is less simple
# than it looks.

# %%
increment = s * (B @ A)  # (d, k), as large as W0
print(increment)
W = W0 + increment
Y_via, W_lib = forward_via_weight(X, W0, LoraParams(B=B, A=A), scale=s)
assert np.array_equal(W, W_lib)
assert np.array_equal(X @ W.T, Y)
assert np.array_equal(Y_via, Y)
assert np.linalg.matrix_rank(increment) == 1

# %% [markdown]
# Mind what LoRA does **not** do. It does not squeeze W₀ into thin factors. W₀ stays as it is, with its full
# rank. Only the *change* is thin. The [Home room](app:home) draws W₀, B and A to scale.
#
# ## 4 The scale
#
# Nobody sets s directly. You choose a number α (alpha) and a rank r, and the layer uses
#
# [lora-scale]
#
# In words: s = α / r. Why divide by r? Write out one output of the new way. It is s·(b₁z₁ + b₂z₂ + … + bᵣzᵣ),
# where b₁ to bᵣ is one row of B: a sum of r terms. With s = α / r this is α times the **mean** of the r
# terms. So r says how many terms are averaged, and α says how much their mean counts.
#
# The trap: when you change r and leave α alone, you change s, too. (And α is not a second learning rate. It
# multiplies what B and A do, at every moment, also after training. Lessons 07 and 10 come back to this.)

# %%
for rank in (4, 8, 16, 64):
    print(f"alpha = 16, r = {rank:2d}: s = {16 / rank}")
    assert 16 / rank == scaling(16, rank)

# %% [markdown]
# With α = 16, rank 4 has s = 4.0, and rank 64 has s = 0.25. If someone tells you "I tried r = 64 and it
# learned less", ask what they did with α.
#
# Is the mean the right thing to take? Let us look. We draw random factors and measure how large the new way's
# output is, as a root mean square: once as a sum (divided by nothing), once as a mean (divided by r), once
# divided by √r.


# %%
def typical_size(Y):
    """Return the root mean square of all entries."""
    return np.sqrt(np.mean(Y**2))


rng = np.random.default_rng(0)
d, k, N = 64, 64, 200
inputs = rng.standard_normal((N, k))
print("   r     sum    mean  sum / √r")
sizes = {}
for rank in (1, 4, 16, 64):
    B_drawn, A_drawn = rng.standard_normal((d, rank)), rng.standard_normal((rank, k)) / np.sqrt(k)
    total = typical_size((inputs @ A_drawn.T) @ B_drawn.T)
    sizes[rank] = total, total / rank, total / np.sqrt(rank)
    print(f"{rank:4d}  {sizes[rank][0]:6.2f}  {sizes[rank][1]:6.2f}  {sizes[rank][2]:8.2f}")
assert sizes[64][0] > 4 * sizes[1][0]
assert sizes[64][1] < sizes[1][1] / 4
assert all(0.75 < size[2] < 1.25 for size in sizes.values())

# %% [markdown]
# Read the columns downward. The sum grows, because more terms are added. The mean shrinks, because terms of
# both signs cancel. Only the sum divided by √r keeps its size. That is the idea of **rsLoRA**, where "rs"
# stands for rank-stabilized:
#
# [lora-scale-rs]
#
# In words: s = α / √r. LoRA's own rule is the first one. A library lets you choose, so always check which one
# it uses.
#
# ### Exercise 04.2 ★ · From alpha to the scale
#
# Write `scale_of(alpha, rank, stabilized)`. `alpha` and `rank` are numbers, `stabilized` is True or False.
# Return the scale s: LoRA's where `stabilized` is False, rsLoRA's where it is True.
#
# Example: `scale_of(8, 16, False)` is 0.5, and `scale_of(8, 16, True)` is 2.0.


# %% tags=["exercise"]
def scale_of(alpha, rank, stabilized):
    """Return the number s."""
    # BEGIN SOLUTION
    return alpha / np.sqrt(rank) if stabilized else alpha / rank
    # END SOLUTION


# %% tags=["check"]
check("04.2", scale_of)

# %%
print(scaling(8, 16), scaling(8, 16, use_rslora=True))
assert (scaling(8, 16), scaling(8, 16, use_rslora=True)) == (0.5, 2.0)

# %% [markdown]
# ### Exercise 04.3 ★★ · The weight behind the layer
#
# Someone hands you W0 (d, k), B (d, r), A (r, k) and `alpha`. They forgot to tell you r. Write
# `adapted_weight(W0, B, A, alpha)` that returns the weight W of shape (d, k) with which a plain layer would
# give the same output. Use LoRA's own scale. Leave the arrays you were given as they are.
#
# Example: with W0, B and A of section 1 and alpha = 2, the result is [[5, 2], [0, 1], [-3, -1]].


# %% tags=["exercise"]
def adapted_weight(W0, B, A, alpha):
    """Return W (d, k)."""
    # BEGIN SOLUTION
    rank = A.shape[0]
    return W0 + alpha / rank * (B @ A)
    # END SOLUTION


# %% tags=["check"]
check("04.3", adapted_weight)

# %%
print(W)
assert W.tolist() == [[5.0, 2.0], [0.0, 1.0], [-3.0, -1.0]]

# %% [markdown]
# ## 5 Why one factor starts at zero
#
# Before the first step, the adapted layer should do what the pretrained layer did. Else we throw away what we
# paid for. So we need s B A = 0. There are three simple ways to get it: B = 0, or A = 0, or both. Which one?
#
# Make the layer as small as can be: d = k = r = 1. Now everything is a number.
#
# - The output is y = w₀ x + s b a x.
# - We want the target t, so take the loss L = ½ (y - t)². Let g = y - t be how far we are off.
# - If y grows by a little, L grows by g times that. (The slope of ½ u² is u.) If b grows by a little, y grows
#   by s a x times that. One after the other: the gradient of b is g s a x.
# - In the same way, the gradient of a is g s b x.
#
# Look at these two. **The gradient of b contains a. The gradient of a contains b.**
#
# Put numbers in: w₀ = 1, x = 2, t = 6, s = 1, and steps of SGD (gradient descent) with learning rate 0.1.
#
# - Start at b = 0, a = 1. Then y = 2 and g = -4. The gradient of b is -4·1·1·2 = -8. The gradient of a is
#   -4·1·0·2 = 0. So b becomes 0 + 0.1·8 = 0.8, and a waits. In the second step b is no longer zero, and both
#   move.
# - Start at b = 0, a = 0. Then g = -4 again, but both gradients are 0. Nothing moves. The next step is the
#   same step. It stays there forever, with the loss at 8.


# %%
def tiny_run(b, a, steps, w0=1.0, x=2.0, t=6.0, s=1.0, lr=0.1):
    """Take SGD steps; return the loss before each step and at the end, and the last b and a."""
    losses = []
    for _ in range(steps):
        g = w0 * x + s * b * a * x - t
        losses.append(g**2 / 2)
        b, a = b - lr * g * s * a * x, a - lr * g * s * b * x  # both at once, from the old values
    return [*losses, (w0 * x + s * b * a * x - t) ** 2 / 2], b, a


for name, b, a in (("b = 0, a = 1", 0.0, 1.0), ("b = 1, a = 0", 1.0, 0.0), ("b = 0, a = 0", 0.0, 0.0)):
    losses, b_end, a_end = tiny_run(b, a, 4)
    shown = "  ".join(f"{loss:.3f}" for loss in losses)
    print(f"{name}:  losses {shown}   at the end b = {b_end:.3f}, a = {a_end:.3f}")
assert tiny_run(0.0, 1.0, 1)[1:] == (0.8, 1.0)
assert tiny_run(0.0, 0.0, 1000) == ([8.0] * 1001, 0.0, 0.0)
assert tiny_run(0.0, 1.0, 20)[0][-1] < 1e-6

# %% [markdown]
# The first two starts learn. The third one has done nothing, and after 1000 steps it still has not: the last
# `assert`s say so.
#
# ## 6 The same with matrices
#
# For matrices the story is the same: the gradient of B is a product that contains A, and the gradient of A is
# one that contains B. [Lesson 05](lesson:05) derives both. Here we only ask which of them is zero. LoRA's
# start is
#
# [lora-init]
#
# In words: B = 0 and A random. The function `init` of `lora_np` knows this start and some others. The usual
# one is called `kaiming`, after the author of the rule for how large A's random numbers are. For each one we
# print how far the layer's output is from the frozen one, and how large the first gradients are.

# %%
rng = np.random.default_rng(0)
W_frozen, rows = rng.standard_normal((6, 4)), rng.standard_normal((5, 4))  # (d, k) and (N, k)
upstream = rng.standard_normal((5, 6))  # how the loss pulls at each output: gY, as in lesson 05
found = {}
for scheme in ("kaiming", "zero-A", "both-zero", "symmetric"):
    p = init(np.random.default_rng(1), 6, 4, 2, scheme=scheme)
    out, Z = forward(rows, W_frozen, p, scale=2.0)
    _, g = backward(upstream, rows, Z, W_frozen, p, scale=2.0)
    off, gB, gA = (np.abs(array).max() for array in (out - rows @ W_frozen.T, g.B, g.A))
    print(f"{scheme:10s} off by {off:.2f}   gradient of B {gB:5.2f}   gradient of A {gA:5.2f}")
    found[scheme] = off == 0, gB > 0, gA > 0  # starts as the frozen layer, B moves, A moves
assert found["kaiming"] == (True, True, False)
assert found["zero-A"] == (True, False, True)
assert found["both-zero"] == (True, False, False)
assert found["symmetric"] == (False, True, True)

# %% [markdown]
# Four starts, four stories:
#
# - `kaiming`, LoRA's usual one: B = 0, A random. It starts as the frozen layer, exactly. In the first step
#   only **B** moves.
# - `zero-A`, the mirror image: A = 0, B random. It starts as the frozen layer, too. In the first step only
#   **A** moves. Still the two starts differ. With B = 0 the first step can read the input only in the way
#   that A happened to be drawn. With A = 0 it can write to the output only in the way that B happened to be
#   drawn.
# - `both-zero`: it starts right, and it never learns.
# - `symmetric`: both random. Both move, but the layer is off before it has seen any data. It can be mended:
#   take the first product away from the frozen weight, and the layer starts where it should.
#
# [lora-symmetric]
#
# In words: W = W₀ - s B₀ A₀ + s B A, where B₀ and A₀ are the factors at the start. At that moment the last
# two terms cancel, and W = W₀.
#
# The picture trains a layer from the first three starts. `kaiming` is the run called "now", the other two are
# pinned beside it. One line stays flat: guess which.

# %% tags=["picture"]
from lora_np.figures import train
from lora_np.figures.train_scene import Choice, Played, play
from lora_np.teach import picture
from lora_np.training.watched import WatchSettings

starts = ("kaiming", "zero-A", "both-zero")
choices = [Choice(settings=WatchSettings(scheme=start, steps=20, lr=0.05)) for start in starts]
picture(train.loss_curves([Played(choice, list(play(choice))) for choice in choices]))

# %% [markdown]
# Do it yourself in the Training room: [start with B zero](app:train?train_init=B+zero), then [start with both
# zero](app:train?train_init=both+zero). Press play and wait as long as you like.
#
# ### Exercise 04.4 ★★ · Who can move?
#
# Write `can_move(B, A)`. It gets a start: B (d, r) and A (r, k). It returns two booleans: whether B can move
# in the first step of SGD, and whether A can. Assume that the data pulls at every output and uses every
# input. Then a gradient is zero only if a factor makes it zero. One entry that is not zero is enough to let
# something through.
#
# Example: for B all zero and A random it returns `(True, False)`.


# %% tags=["exercise"]
def can_move(B, A):
    """Return (B can move, A can move), two booleans."""
    # BEGIN SOLUTION
    return bool(A.any()), bool(B.any())
    # END SOLUTION


# %% tags=["check"]
check("04.4", can_move)

# %% [markdown]
# ### Exercise 04.5 ★★★ · Train the smallest layer
#
# Write `train_tiny(w0, b, a, x, t, scale, lr, steps)`. All arguments are numbers: the layer y = w₀ x + s b a
# x of section 5 with s = `scale`, the target `t`, the learning rate `lr`. Take `steps` steps of SGD on L = ½
# (y - t)² and return the last `b, a`. One step moves both numbers **at once**: both gradients are taken
# before either number moves. w₀ is frozen.
#
# Example: `train_tiny(1, 0, 1, 2, 6, 1, 0.1, 1)` returns b = 0.8, a = 1.


# %% tags=["exercise"]
def train_tiny(w0, b, a, x, t, scale, lr, steps):
    """Return b and a after all steps."""
    # BEGIN SOLUTION
    for _ in range(steps):
        g = w0 * x + scale * b * a * x - t
        gb, ga = g * scale * a * x, g * scale * b * x
        b, a = b - lr * gb, a - lr * ga
    return b, a
    # END SOLUTION


# %% tags=["check"]
check("04.5", train_tiny)

# %% [markdown]
# ## Exit quiz
#
# **1.** X has 32 rows of 50 inputs, and r = 4. What is the shape of the bottleneck Z?
#
# - a) (4, 32)
# - b) (50, 4)
# - c) (32, 4)
# - d) (32, 50)
#
# **2.** You go from r = 8 to r = 16 and leave α = 16. What happens to LoRA's scale s?
#
# - a) it becomes half as large
# - b) it stays, because α stays
# - c) it becomes twice as large
# - d) that depends on W₀
#
# **3.** B and A both start at zero. What do 1000 steps of SGD do?
#
# - a) they learn, but more slowly
# - b) they learn what a random A would have learned
# - c) they make the loss grow without bounds
# - d) nothing: B and A are still zero
#
# **4.** B starts at zero and A is random. What moves in the very first step?
#
# - a) both factors
# - b) only B
# - c) only A
# - d) W₀
#
# **5.** What is true of W₀ while the layer trains?
#
# - a) it is replaced by its best approximation of rank r
# - b) it moves a little, in r directions
# - c) it stays exactly as it was
# - d) it is multiplied by s


# %% tags=["exercise"]
def quiz():
    """Return the letters of your answers, in order."""
    # BEGIN SOLUTION
    return "c", "a", "d", "b", "c"
    # END SOLUTION


# %% tags=["check"]
check("04.quiz", quiz)

# %% [markdown] tags=["solution"]
# 1. **c.** Z = X Aᵀ: (32, 50) times (50, 4) is (32, 4). One row of the bottleneck for each row of X.
# 2. **a.** s = 16 / 8 = 2 becomes s = 16 / 16 = 1.
# 3. **d.** Each gradient contains the other factor. Both factors are zero, so both gradients are, at every
#    step.
# 4. **b.** B's gradient contains A, which is not zero. A's gradient contains B, which is.
# 5. **c.** It is frozen. What moves is the product B A beside it.

# %% [markdown]
# ## Where next
#
# - [Lesson 05](lesson:05) derives the gradients that we only looked at here, cell by cell.
# - [Training room](app:train?train_init=both+random&train_rank=2): both factors random, rank 2. Does it learn
#   faster?
# - [Optimizer view](app:optimizer?opt_look=one+step&opt_before=0): what the first step does to the weight
#   when B = 0.
