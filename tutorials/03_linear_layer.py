# %% [markdown]
# # 03 · A linear layer, and what fine-tuning changes
#
# **Time:** 60 minutes · **Before:** [lesson 02](lesson:02)
#
# **Goals:** compute the output of a linear layer, by hand and in code; say what training does to its weight,
# and which rank the change can have; measure the rank that a real change needs.
#
# **The mistake this cures:** "LoRA squeezes the trained weight into low rank."

# %%
import numpy as np

from lora_np.nn import dense, losses
from lora_np.nn.dense import Dense
from lora_np.rank import extract_increment, matrix_rank, spectrum_report, truncate
from lora_np.teach import check, hint, picture

# %% [markdown]
# ## 1 · One neuron
#
# A neuron gets k numbers x (k,). It has k weights w (k,) and one more number, its bias b. It multiplies each
# input by its weight, adds up, and adds the bias.
#
# [net-neuron]
#
# By hand, with x = [1 2 3], w = [0.5 0 −1] and b = 2: the output is 0.5 · 1 + 0 · 2 − 1 · 3 + 2 = −0.5.
# "Multiply in pairs and add up" is a dot product, so the output is w · x + b.
#
# [net-neuron-dot]

# %%
x, w, b = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.0, -1.0]), 2.0
print("output", w @ x + b)

assert w @ x + b == dense.neuron(x, w, b) == -0.5

# %% [markdown]
# ## 2 · A layer of neurons
#
# A linear layer has d neurons, and all of them get the same x. We write their weights under each other, one
# row for each neuron: a matrix W of shape (d, k). The biases make b of shape (d,). And we send N inputs at
# once, one row for each: X of shape (N, k). The outputs make Y of shape (N, d).
#
# Row n of Y holds the dot products of row n of X with all rows of W. That is the matrix product X Wᵀ. Check
# the shapes: (N, k) times (k, d) is (N, d). The bias goes onto every row: Y = X Wᵀ + b.
#
# [net-linear]
#
# (Some books write X W. Then their W has shape (k, d), one *column* for each neuron. Same layer, other way of
# writing. Here a weight always has shape (outputs, inputs).)

# %%
X = np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]])  # N = 2 inputs of k = 3 numbers
W = np.array([[0.5, 0.0, -1.0], [1.0, 1.0, 1.0]])  # d = 2 neurons
b = np.array([2.0, 0.0])
print(X @ W.T + b)

assert (X @ W.T + b == dense.forward(X, Dense(W, b))).all()

# %% [markdown]
# Find the −0.5 of section 1 in this output. Then check one more entry by hand: the second neuron adds its
# inputs, so the first row gives 1 + 2 + 3 = 6.

# %% [markdown]
# ### Exercise 03.1 ★ · The layer
#
# Write `layer(X, W, b)`. It gets X of shape (N, k), W of shape (d, k) and b of shape (d,). Return Y of shape
# (N, d).
#
# Example: with X = `[[1, 2]]`, W = `[[3, 4], [5, 6], [0, 1]]` and b = `[0, 0, 10]`, Y is `[[11, 17, 12]]`.


# %% tags=["exercise"]
def layer(X, W, b):
    """Return the outputs of all neurons for all rows."""
    # BEGIN SOLUTION
    return X @ W.T + b
    # END SOLUTION


# %% tags=["check"]
check("03.1", layer)

# %% [markdown]
# ## 3 · What one step of training does to the weight
#
# Someone has trained W. Call it W₀. *Fine-tuning* means: go on training, on other data. In *full* fine-tuning
# all entries may move, and the result W′ has the same shape as W₀. Call the difference ΔW ("delta W"), so
# W′ = W₀ + ΔW. We also say *increment*.
#
# [rank-increment]
#
# The layer is linear, so it splits: the new output is the old output plus X ΔWᵀ.
#
# [rank-layer-increment]
#
# What does ΔW look like? Follow one single step, without a bias. Two neurons, W₀ has the rows [1 0] and
# [0 1]. The input is x = [1 2], so the output is y = [1 2]. We want t = [0 0]. Each neuron misses by
# g = y − t, so g = [1 2].
#
# Which weights are to blame? Weight j of neuron i got multiplied by xⱼ on its way into yᵢ. So its blame is
# gᵢ · xⱼ: the miss, times the input that carried it. A weight whose input was 0 had no part in it. Gradient
# descent moves each weight against its blame, by a small rate η, say 0.1:
#
# - first neuron: −0.1 · 1 · [1 2], its miss is 1
# - second neuron: −0.1 · 2 · [1 2], its miss is 2
#
# These are the two rows of ΔW. Together they are a column times a row, −η g xᵀ. You know its rank from
# lesson 01: it is 1.

# %%
W0, x, t, eta = np.eye(2), np.array([1.0, 2.0]), np.zeros(2), 0.1
g = W0 @ x - t
delta_W = -eta * np.outer(g, x)
print(delta_W, "rank", matrix_rank(delta_W))
print("miss before", g, "and after", (W0 + delta_W) @ x - t)

assert matrix_rank(delta_W) == 1
assert np.allclose((W0 + delta_W) @ x, [0.5, 1.0])

# %% [markdown]
# One step, and the miss is halved.
#
# With N rows at once, the blame is the mean over the rows. Let T hold the targets and G = Y − T the misses,
# both of shape (N, d). Then the mean of N tables g xᵀ is Gᵀ X / N. Look at the shapes: (d, N) times (N, k) is
# (d, k). So one step makes ΔW = −η Gᵀ X / N.
#
# "Blame" has a proper name, *gradient*: how much the loss grows if a weight grows. Here the loss is half the
# mean squared miss.
#
# [net-squared-error]
#
# Lesson 05 derives gradients with care. For now we check it in the honest way: move one weight a little, and
# look at the loss.

# %%
rng = np.random.default_rng(0)
X, W0, T = rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), rng.normal(size=(5, 2))  # N, d, k = 5, 2, 3
G = X @ W0.T - T
gradient = G.T @ X / len(X)

nudge = np.zeros((2, 3))
nudge[1, 2] = 1e-6  # one weight: neuron 1, input 2
losses_around = [losses.squared_error(X @ (W0 + side * nudge).T, T) for side in (1, -1)]
slope = (losses_around[0] - losses_around[1]) / 2e-6
print(f"measured slope {slope:.6f}, formula {gradient[1, 2]:.6f}")

assert np.isclose(slope, gradient[1, 2])
assert np.allclose(gradient, dense.weight_gradient(losses.squared_error_gradient(X @ W0.T, T), X))

# %% [markdown]
# ### Exercise 03.2 ★★ · The increment of one step
#
# Write `increment(W0, X, T, lr)`. It gets W0 (d, k), inputs X (N, k), targets T (N, d) and the rate lr,
# called η above. Return ΔW (d, k), the *change* of the weight by one step of gradient descent on the half
# mean squared miss. The layer has no bias, so its output is X W₀ᵀ.
#
# Example: the step by hand above. With W0 = `np.eye(2)`, X = `[[1, 2]]`, T = `[[0, 0]]` and lr = 0.1, the
# answer is `[[-0.1, -0.2], [-0.2, -0.4]]`.


# %% tags=["exercise"]
def increment(W0, X, T, lr):
    """Return the change of the weight by one step."""
    # BEGIN SOLUTION
    G = X @ W0.T - T
    return -lr * G.T @ X / len(X)
    # END SOLUTION


# %% tags=["check"]
check("03.2", increment)

# %% [markdown]
# ## 4 · Few rows, low rank
#
# Look at Gᵀ X once more. It is a product, so lesson 01 tells its rank: at most N, the number of rows of X.
# Even better, it tells *which* rows: every row of ΔW is a mixture of the rows of X.
#
# Now train for many steps on the same N rows. Each step adds mixtures of the same N rows. So the rank stays
# at most N, however long you train. With N fresh rows in every step it can grow by N each time, until the
# shape (d, k) says stop. (In the next cell the entries of the weight are about 1, and what lies below 1e-10
# is their rounding.)

# %%
X, T = rng.normal(size=(3, 20)), rng.normal(size=(3, 30))  # three rows of data for a weight of shape (30, 20)
W0 = rng.normal(size=(30, 20)) / 5
W = W0
for _ in range(100):
    W = W - 0.05 * (X @ W.T - T).T @ X / len(X)
print("after 100 steps on the same 3 rows: rank", matrix_rank(W - W0, tol=1e-10))
assert matrix_rank(W - W0, tol=1e-10) == 3

W = W0
for _ in range(4):
    X, T = rng.normal(size=(3, 20)), rng.normal(size=(3, 30))
    W = W - 0.05 * (X @ W.T - T).T @ X / len(X)
print("after 4 steps on 3 fresh rows each: rank", matrix_rank(W - W0, tol=1e-10))

assert matrix_rank(W - W0, tol=1e-10) == 12

# %% [markdown]
# ### Exercise 03.3 ★★ · How high can the rank get?
#
# Write `highest_rank(d, k, N, steps)`. A weight of shape (d, k) is trained by plain gradient descent for a
# number of steps, at least one, with N rows in each step. Return two whole numbers: the highest rank that ΔW
# can have if every step uses the *same* N rows, and the highest if every step uses *fresh* rows.
#
# Example: `highest_rank(30, 20, 3, 4)` is `(3, 12)`, as above.


# %% tags=["exercise"]
def highest_rank(d, k, N, steps):
    """Return the highest rank of the increment, with the same rows in every step and with fresh ones."""
    # BEGIN SOLUTION
    return min(d, k, N), min(d, k, N * steps)
    # END SOLUTION


# %% tags=["check"]
check("03.3", highest_rank)

# %% [markdown]
# ## 5 · A real change
#
# `lora_np` ships a small network that reads handwritten digits, 8 pixels by 8. Its first layer has W₀ of
# shape (96, 64): 96 neurons, 64 pixels. Two more layers follow. We turn all digits by 45 degrees. Guess: how
# well does it read them now? Then we fine-tune everything, all weights of all layers, for 150 steps. How
# `train` works is the subject of lesson 07; here it is only run. (The optimizer is Adam, see lesson 10. It is
# not plain gradient descent, so the bounds of section 4 need not hold.)

# %%
from dataclasses import replace

from lora_np.training.experiments.task_adapters import shipped_task_adapters, task_of
from lora_np.training.loop import Settings, evaluate, start, train

before = shipped_task_adapters().base
upright, turned = task_of(None), task_of("rotated-45")
settings = Settings("full", steps=150, lr=3e-3, report_every=150)
*_, last = train(start(before, turned, settings, np.random.default_rng(0)), turned, settings)
after = last.network

for name, network in (("before", before), ("after", after)):
    print(
        f"{name}: {evaluate(network, upright)[1]:.0%} of upright digits, {evaluate(network, turned)[1]:.0%} of turned"
    )

assert evaluate(before, upright)[1] > 0.95
assert evaluate(before, turned)[1] < 0.3
assert evaluate(after, turned)[1] > 0.85

# %% [markdown]
# The turned digits are learned: about nine of ten are read, where before it was fewer than one in four. (The
# upright ones are partly forgotten. Nobody asked to keep them.)
#
# Now look at the change of the first layer's weight.

# %%
W0, W1 = before.layers[0].W, after.layers[0].W
delta_W = W1 - W0
report = spectrum_report(delta_W)
print("shape", delta_W.shape, "· rank", report.rank, "of at most", min(delta_W.shape))
print("pixels that are 0 in all turned digits:", (turned.X == 0).all(axis=0).sum())
print("columns of the change that are 0:", (delta_W == 0).all(axis=0).sum())

assert report.rank == 60
assert (delta_W == 0).all(axis=0).sum() == 4

# %% [markdown]
# The rank is 60 of 64. Why 60? The four corners of a turned picture are always empty. Their weights carried
# nothing, took no blame, and never moved: four columns of ΔW are zero. All the rest moved in all directions.
#
# So a real change has nearly the highest rank that it can have. Is the idea of LoRA dead, then? You know from
# lesson 02 what to ask: how strong are these 60 directions?

# %%
for r in (1, 2, 4, 8, 16, 32):
    print(f"rank {r:2} keeps {report.energies[r]:.1%} of the energy of the change")

assert report.energies[8] > 0.88

# %% [markdown]
# Eight directions hold about nine tenths of the energy. Energy is only a sum of squares, though. What counts
# is whether the network still reads.

# %% [markdown]
# ## 6 · Cut the change, or cut the weight?
#
# Two experiments on the fine-tuned network. In the first we cut the *change* to rank r, and put W₀ + (ΔW cut
# to rank r) into the first layer. In the second we cut the *weight* itself, W′, to rank r. Which one
# survives?


# %%
def reads(W):
    """Return the share of turned digits that the fine-tuned network reads with W in its first layer."""
    first, *others = after.layers
    return evaluate(replace(after, layers=(Dense(W, first.b), *others)), turned)[1]


ranks = (1, 2, 4, 8, 16, 32, 64)
change_cut = {r: reads(W0 + truncate(delta_W, r).matrix()) for r in ranks}
weight_cut = {r: reads(truncate(W1, r).matrix()) for r in ranks}
print("no change in this layer at all:", f"{reads(W0):.0%}")
print("rank   change cut   weight cut")
for r in ranks:
    print(f"{r:4}   {change_cut[r]:10.0%}   {weight_cut[r]:10.0%}")

weight_kept = float(spectrum_report(W1).energies[8])
print(f"rank 8 keeps {weight_kept:.1%} of the energy of the weight, {report.energies[8]:.1%} of the change")

assert change_cut[8] > change_cut[64] - 0.05
assert weight_cut[8] < change_cut[8] - 0.2
assert change_cut[64] == weight_cut[64] == evaluate(after, turned)[1]

# %% [markdown]
# With the change cut to rank 8, the network reads as well as with all of it. With the weight cut to rank 8,
# it reads little more than half. The weight holds all that the network ever learned, spread over all its
# directions. The change holds one task. (Both columns end at the same number, for at rank 64 nothing is cut.)
#
# That is the observation on which LoRA stands: **the change is thin, the weight is not.** LoRA never touches
# W₀, and never makes it smaller.
#
# Two honest remarks. Energy and reading are not the same: compare the first lines of the table with the
# energies above. And "thin" is no law. This task needs about eight directions of 64. Another task may need
# more, and for [random numbers](app:rank?kind=random&r=8) no small rank would ever do.

# %% [markdown]
# ### Exercise 03.4 ★★★ · Cut the change
#
# Write `with_cut_change(W0, W1, r)`. It gets a weight before fine-tuning, W0 (d, k), the weight after it, W1
# (d, k), and a rank r from 1 to min(d, k). Return the weight (d, k) that is W0 plus the best increment of
# rank r.
#
# `np.linalg.svd(..., full_matrices=False)` may help, as in exercise 02.3.
#
# Example: with W0 = `[[1, 0], [0, 1]]` and W1 = `[[5, 0], [0, 2]]` the change has 4 and 1 on its diagonal. At
# rank 1 the answer is `[[5, 0], [0, 1]]`.


# %% tags=["exercise"]
def with_cut_change(W0, W1, r):
    """Return W0 plus the increment, cut to rank r."""
    # BEGIN SOLUTION
    U, sigma, Vt = np.linalg.svd(W1 - W0, full_matrices=False)
    return W0 + (U[:, :r] * sigma[:r]) @ Vt[:r]
    # END SOLUTION


# %% tags=["check"]
check("03.4", with_cut_change)

# %% [markdown]
# ## 7 · The change as two strips
#
# An increment of rank r is a product of two strips. From here on, and in all lessons to come, they are called
# B, of shape (d, r), and A, of shape (r, k). So the new weight is W′ = W₀ + B A.
#
# [rank-increment-mn]
#
# Put them into the layer and multiply out: Y = X W₀ᵀ + (X Aᵀ) Bᵀ + b. W₀ stays as it is, and the strips work
# beside it. (In these formulas W without a mark stands for W₀.)
#
# [rank-layer-split]
#
# What do the strips cost for our digits? At rank 8 they hold 8 · (96 + 64) numbers, where ΔW holds 96 · 64.

# %%
strips = extract_increment(W0, W1, rank=8)
B, A = strips
print("B", B.shape, "A", A.shape, "·", B.size + A.size, "numbers for", delta_W.size)

beside = turned.X @ W0.T + (turned.X @ A.T) @ B.T  # W0 + B A is never built
assert np.allclose(beside, turned.X @ (W0 + B @ A).T)
assert np.allclose(W0 + B @ A, W0 + truncate(delta_W, 8).matrix())

# %% [markdown]
# Write r_opt for the rank that the best change has. A lower rank loses something, a higher rank holds numbers
# that nothing needs:
#
# [rank-too-low]
#
# [rank-too-high]
#
# Here we first trained everything and cut afterwards. That saves nothing in training. LoRA turns it around:
# it *trains the strips from the start*, and ΔW never exists. [Watch it](app:train?train_task=digits) in the
# app, and see what happens if the rank is [lower than the change needs](app:train?train_rank=2).

# %% [markdown]
# ## 8 · The picture to keep
#
# The change of the first layer after its first 20 steps, called M in the picture: one column for each pixel,
# one line of cells for two neurons. Beside it the best product of two strips of rank 8, and what is left
# over. Almost nothing in the change is zero: only the columns of the four corners, and the rows of a few
# neurons that never fire. And yet eight patterns make nearly all of it.

# %% tags=["picture"]
import numpy as np

from lora_np.figures import rank
from lora_np.rank import SVD, energy_kept, truncate
from lora_np.teach import picture
from lora_np.training.experiments.task_adapters import shipped_task_adapters, task_of
from lora_np.training.loop import Settings, start, train

base, turned = shipped_task_adapters().base, task_of("rotated-45")
settings = Settings("full", steps=20, lr=3e-3, report_every=20)
*_, last = train(start(base, turned, settings, np.random.default_rng(0)), turned, settings)
change = last.network.layers[0].W - base.layers[0].W
found = SVD(*np.linalg.svd(change, full_matrices=False))
picture(rank.triptych(change, *truncate(found, 8).factors(), energy=float(energy_kept(found.sigma)[8])))

# %% [markdown]
# ## Exit quiz
#
# **1.** A layer has a weight of shape (96, 64). You send 10 rows through it. The output has shape
#
# - a) (96, 10)
# - b) (10, 96)
# - c) (10, 64)
# - d) (64, 96)
#
# **2.** You train this weight by plain gradient descent, 1 step on 5 rows. The rank of ΔW is
#
# - a) 64, as all entries change
# - b) 1, as it was one step
# - c) 96, the number of neurons
# - d) at most 5
#
# **3.** LoRA of rank 8 on W₀. Which of these has rank 8 at most?
#
# - a) The increment ΔW
# - b) The frozen weight W₀
# - c) The adapted weight W₀ + ΔW
# - d) All three
#
# **4.** A real increment has rank 60, and its cut to rank 8 keeps nine tenths of the energy. What follows?
#
# - a) Rank 8 cannot work, the increment has rank 60
# - b) 52 rows of the increment are nearly zero
# - c) Rank 8 may do nearly as well: try it on the task
# - d) The weight itself can be stored in rank 8
#
# **5.** An input is 0 in all rows of the new data. In gradient descent, the weights that belong to it
#
# - a) become 0
# - b) stay as they were
# - c) shrink a little in every step
# - d) move at random


# %% tags=["exercise"]
def quiz():
    """Return your five letters."""
    # BEGIN SOLUTION
    return "b", "d", "a", "c", "b"
    # END SOLUTION


# %% tags=["check"]
check("03.quiz", quiz)

# %% [markdown] tags=["solution"]
# 1. **b.** One row for each input, one column for each neuron: (10, 64) times (64, 96).
# 2. **d.** Gᵀ X has five rows in the middle. (b) is true for one row, not for one step.
# 3. **a.** W₀ keeps all its directions, and so does the sum, as a rule.
# 4. **c.** Energy is a promise, the task decides. (b) takes rank for zeros.
# 5. **b.** Their blame is the miss times 0. They do not become 0: the increment does.

# %% [markdown]
# ## Where next
#
# [Lesson 04](lesson:04) builds the layer with two strips beside its weight: the LoRA layer. There you will
# meet the scale, and learn why one strip must start at zero.
