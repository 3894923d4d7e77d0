# %% [markdown]
# # 10 · LoRA as an optimizer
#
# **Time:** 75 minutes · **Before:** 05, 07
#
# **Goals:** take a LoRA step when all you have is the gradient of the weight; say, before the step, what it will do
# to the weight; say which part of the gradient is lost, and when nothing is lost on average.
#
# **The mistake this cures:** "LoRA takes the step of full fine-tuning, only with fewer numbers."

# %%
import itertools

import numpy as np

from lora_np import lora, optim
from lora_np.gradient_view import (
    AdditiveParams,
    adam_step,
    additive_gauge,
    additive_gradient,
    additive_weight,
    effective_gradient,
    effective_update,
    expected_random_update,
    first_order_update,
    second_order_update,
    sgd_step,
    weight_step,
)
from lora_np.lora import LoraParams
from lora_np.teach import check, hint, picture

rng = np.random.default_rng(0)

# %% [markdown]
# ## One number that nobody trains
#
# In LoRA the frozen weight W₀ never moves. What moves is what the network really uses: W = W₀ + s B A. We now look
# at LoRA from there. We stand at W and ask: *where does a step on B and A take me?*
#
# First with single numbers. Let b = 1, a = 2, s = 1, so the increment is b·a = 2. Let the gradient of the loss with
# respect to the weight be g = 3, and the learning rate η = 0.1.
#
# - Plain gradient descent on the weight would move it by −η g = −0.3.
# - LoRA asks for the gradients of b and a. By the product rule they are g·a = 6 and b·g = 3.
# - So b goes to 1 − 0.6 = 0.4, and a goes to 2 − 0.3 = 1.7.
# - The increment is now 0.4 · 1.7 = 0.68. It was 2. The weight moved by −1.32.
#
# Same gradient, same rate, and a step more than four times as long. Where does −1.32 come from?

# %%
b, a, s, g, eta = 1.0, 2.0, 1.0, 3.0, 0.1
b_next, a_next = b - eta * s * g * a, a - eta * s * b * g
moved = s * (b_next * a_next - b * a)
print(f"steps {eta * s * g * a:.1f} and {eta * s * b * g:.1f}: b is {b_next:.1f}, a is {a_next:.1f}")
print(f"increment {b_next * a_next:.2f}; a weight of 10 goes to {10 + moved:.2f}")
print(f"plain step {-eta * g:.2f}, LoRA's step {moved:.2f}, ratio {moved / (-eta * g):.1f}")

# %% [markdown]
# Multiply out (b − η g a)(a − η b g) and take b·a away. Three terms are left:
#
# −η (g a² + b² g) + η² · g a · b g = −0.1 · (12 + 3) + 0.01 · 18 = −1.5 + 0.18 = −1.32.
#
# The first term has one η. It is the gradient, seen once through a and once through b. The second term has η²: it is
# the product of both steps. This lesson is about these two terms, for matrices.

# %%
first, second = -eta * (g * a**2 + b**2 * g), eta**2 * (g * a) * (b * g)
print(f"first order {first:.2f}, second order {second:.2f}, sum {first + second:.2f}")
assert np.isclose(first + second, moved)

# %% [markdown]
# ## Project the gradient, then step
#
# Now matrices. W₀ and W have shape (d, k): d outputs, k inputs. B is (d, r), A is (r, k), and s is one number. We
# write G for the gradient of the loss with respect to W; it has the shape of W, (d, k). (The equations below call it
# g with the index W.)
#
# LoRA's own two gradients follow from G, and from nothing else: gB = s G Aᵀ, of shape (d, r), and gA = s Bᵀ G, of
# shape (r, k). They are G, looked at through A and through B. So we can forget the layer, its input and its batch.
# Whoever holds G can do LoRA:
#
# [view-sgd]
#
# [view-weight-step]
#
# Read it as the recipe of an *optimizer*. Its input is G. Its memory is B and A. Its output is the new weight. To the
# old weight we add only the *change* of the increment, because the old increment is in it already.
#
# Is this the same as training a LoRA layer as in [lesson 05](lesson:05)? We train both for three steps on one batch
# and compare.

# %%
N, d, k, r, s, eta = 8, 6, 5, 2, 0.5, 0.1
X, target, W0 = rng.normal(size=(N, k)), rng.normal(size=(N, d)), rng.normal(size=(d, k))
start = LoraParams(B=rng.normal(size=(d, r)), A=rng.normal(size=(r, k)))

layer = start  # the layer: W0 is frozen, the gradients come through the layer
for _ in range(3):
    Y, Z = lora.forward(X, W0, layer, scale=s)
    _, gradients = lora.backward((Y - target) / N, X, Z, W0, layer, scale=s)
    layer = LoraParams(B=layer.B - eta * gradients.B, A=layer.A - eta * gradients.A)

W, seen = W0 + s * start.B @ start.A, start  # the optimizer: it holds W, and gets G
for _ in range(3):
    G = ((X @ W.T - target) / N).T @ X  # (d, k): the gradient of the weight
    gB, gA = s * G @ seen.A.T, s * seen.B.T @ G
    after = LoraParams(B=seen.B - eta * gB, A=seen.A - eta * gA)
    W, seen = W + s * (after.B @ after.A - seen.B @ seen.A), after

print(f"largest difference of the two weights: {abs(W - (W0 + s * layer.B @ layer.A)).max():.0e}")
assert np.allclose(W, W0 + s * layer.B @ layer.A, rtol=0, atol=1e-13)
one, _ = sgd_step(W0 + s * start.B @ start.A, start, G, scale=s, lr=eta)
assert np.allclose(one, effective_update(G, start, scale=s, lr=eta) + W0 + s * start.B @ start.A)

# %% [markdown]
# The two agree to rounding. "A layer with two factors" and "an optimizer that projects the gradient" are one
# algorithm in two wordings.
#
# An optimizer with running averages, such as Adam, keeps them of the *projected* gradients:
#
# [view-adam]
#
# Here is the memory that LoRA saves in an optimizer. Adam on the weight keeps 2 d k numbers. Adam on the factors
# keeps 2 r (d + k). For d = k = 768 and r = 8 that is 1,179,648 against 24,576.

# %%
wide, thin = 2 * 768 * 768, 2 * 8 * (768 + 768)
print(f"Adam's averages: {wide:,} for the weight, {thin:,} for the factors, {wide // thin} times fewer")

# %% [markdown]
# ### Exercise 10.1 ★ · One step of the optimizer
#
# Write `step(W, B, A, gW, scale, lr)`. `W` (d, k) is the weight in use, with the increment already in it. `gW`
# (d, k) is its gradient. Take one SGD step on both factors, with the *old* factors on every right-hand side. Return
# `B_next, A_next, W_next`. Do not change the arguments.
#
# With the numbers from above, as 1 × 1 matrices: W = 10, B = 1, A = 2, gW = 3, scale = 1, lr = 0.1 gives 0.4, 1.7
# and 10 − 1.32 = 8.68.


# %% tags=["exercise"]
def step(W, B, A, gW, scale, lr):
    """Return B_next, A_next, W_next."""
    # BEGIN SOLUTION
    B_next = B - lr * scale * gW @ A.T
    A_next = A - lr * scale * B.T @ gW
    return B_next, A_next, W + scale * (B_next @ A_next - B @ A)
    # END SOLUTION


# %% tags=["check"]
check("10.1", step)

# %% [markdown]
# ## What one step does to the weight
#
# Multiply out as we did with numbers: (B − η s G Aᵀ)(A − η s Bᵀ G) − B A, times s. Keep the order of the factors.
#
# - The terms with one η: −η s · (G Aᵀ) A and −η s · B (Bᵀ G). Times s: −η s² (G AᵀA + B Bᵀ G).
# - The term with η²: η² s² · (G Aᵀ)(Bᵀ G). Times s: η² s³ G Aᵀ Bᵀ G.
#
# [view-update]
#
# Nothing was left out. This is an identity, not an approximation.

# %%
G = rng.normal(size=(d, k))
p = start
first = -eta * s**2 * (G @ p.A.T @ p.A + p.B @ p.B.T @ G)
second = eta**2 * s**3 * (G @ p.A.T) @ (p.B.T @ G)
assert np.allclose(first, first_order_update(G, p, scale=s, lr=eta))
assert np.allclose(second, second_order_update(G, p, scale=s, lr=eta))

B_next, A_next = p.B - eta * s * G @ p.A.T, p.A - eta * s * p.B.T @ G
moved = s * (B_next @ A_next - p.B @ p.A)
assert np.allclose(moved, first + second)
assert np.allclose(moved, weight_step(W0, p, LoraParams(B_next, A_next), scale=s) - W0)
assert np.allclose(moved, effective_update(G, p, scale=s, lr=eta))

# %% [markdown]
# How much does the η² term matter? Make η ten times smaller. The first order gets ten times smaller, the second a
# hundred times. At a small rate only the first is left; that is why people drop the other one.

# %%
print("rate    first order   second order   second / first")
for rate in (1.0, 0.1, 0.01):
    one = np.linalg.norm(first_order_update(G, p, scale=s, lr=rate))
    two = np.linalg.norm(second_order_update(G, p, scale=s, lr=rate))
    print(f"{rate:<7} {one:<13.4f} {two:<14.6f} {two / one:.4f}")

# %% [markdown]
# And at the very start? LoRA starts with B = 0. Then B Bᵀ G = 0 and the η² term is 0, too. Only −η s² G AᵀA is left.
# In the first step the rate plays no trick: the step is exactly linear in it. A does not move at all.

# %%
zero = LoraParams(B=np.zeros((d, r)), A=start.A)
assert not second_order_update(G, zero, scale=s, lr=eta).any()
assert np.allclose(effective_update(G, zero, scale=s, lr=eta), -eta * s**2 * G @ zero.A.T @ zero.A)
_, after = sgd_step(W0, zero, G, scale=s, lr=eta)
assert (after.A == zero.A).all()
print("B = 0: the second order is 0, A stays as it is, the step is -eta s^2 G A^T A")

# %% [markdown]
# The picture draws both orders against the rate, after five steps of training. On logarithmic axes a power is a
# straight line: slope 1 for η, slope 2 for η². Where the lines cross, neither can be dropped.

# %% tags=["picture"]
from lora_np.figures import optimizer, optimizer_scene
from lora_np.teach import picture

picture(optimizer.orders(optimizer_scene.update_scene(4, 8, steps=5)))

# %% [markdown]
# See it move: [one step after five others](app:optimizer?opt_rank=4&opt_alpha=8&opt_before=5), and
# [the first step of all](app:optimizer?opt_before=0), where one line is missing.
#
# ### Exercise 10.2 ★★ · Both orders, apart
#
# Write `orders(B, A, gW, scale, lr)`. Return `first, second`, both (d, k): the part of the weight's change that is
# linear in `lr`, and the part that is quadratic in it. Mind the powers of `scale`: they differ.
#
# With 1 × 1 matrices B = 1, A = 2, gW = 3, scale = 1, lr = 0.1: −1.5 and 0.18.


# %% tags=["exercise"]
def orders(B, A, gW, scale, lr):
    """Return first, second: the parts of the weight's change that are linear and quadratic in lr."""
    # BEGIN SOLUTION
    first = -lr * scale**2 * ((gW @ A.T) @ A + B @ (B.T @ gW))
    second = lr**2 * scale**3 * ((gW @ A.T) @ (B.T @ gW))
    return first, second
    # END SOLUTION


# %% tags=["check"]
check("10.2", orders)

# %% [markdown]
# ## What stands in the gradient's place
#
# Full fine-tuning moves the weight by −η G. LoRA, to first order, moves it by
#
# [view-first-order]
#
# So LoRA puts s² (G AᵀA + B Bᵀ G) where G stood. We call it the *effective gradient*. What survives? A small case: let
# A = [1 0], B = 0, s = 1 and G = [[1, 2], [3, 4]]. AᵀA is [[1, 0], [0, 0]]. Then G AᵀA = [[1, 0], [3, 0]]. The second
# column of G is gone. A has one row, and that row does not look at the second input.

# %%
small = LoraParams(B=np.zeros((2, 1)), A=np.array([[1.0, 0.0]]))
print(effective_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]), small, scale=1.0))

# %% [markdown]
# In general: G AᵀA keeps the directions in the rows of A. B Bᵀ G keeps the directions in the columns of B. With rank r
# there are r of each, so the step has rank 2r at most. All other directions of G are lost in this step.
#
# How much is that? Measure the cosine between G and the effective gradient: 1 means the same direction, 0 means
# nothing in common. Here B = 0 and the layer is 24 × 16.

# %%
G = rng.normal(size=(24, 16))
for rank in (1, 4, 16):
    fresh = lora.init(np.random.default_rng(1), 24, 16, rank)
    E = effective_gradient(G, fresh, scale=1.0)
    print(f"rank {rank:2}: cosine {np.sum(E * G) / np.linalg.norm(E) / np.linalg.norm(G):.2f}")

# %% [markdown]
# At rank 1 the cosine is 0.29. At rank 16 no direction is lost any more, and still the cosine is not 1 but 0.73. A
# random A stretches some directions and shrinks others. **Full rank does not make LoRA equal to full
# fine-tuning.** For that, AᵀA would have to be a multiple of the identity.
#
# You do not need G to see the effective gradient. LoRA's own gradients know it:
#
# [view-projected]
#
# The right-hand side, times s, is what we computed. The left-hand side has no G in it. The pruning method of
# [lesson 13](lesson:13) is built on this line.

# %%
p = LoraParams(B=rng.normal(size=(24, 4)), A=rng.normal(size=(4, 16)))
gB, gA = s * G @ p.A.T, s * p.B.T @ G  # LoRA's own gradients
assert np.allclose(s * (gB @ p.A + p.B @ gA), effective_gradient(G, p, scale=s))

# %% [markdown]
# One more surprise. Double B and halve A. The product B A is the same, the network is the same, its output and its
# loss are the same. Is the next step the same? With single numbers: b = 1, a = 2 gave −1.5 to first order. With b = 2
# and a = 1 we get −0.1 · (3 · 1 + 4 · 3) = −1.5: the same, by chance. With b = 4 and a = 0.5 we get
# −0.1 · (3 · 0.25 + 16 · 3) = −4.875.

# %%
for b, a in ((1.0, 2.0), (2.0, 1.0), (4.0, 0.5)):
    print(
        f"b = {b}, a = {a}: increment {b * a}, a² = {a * a}, first order {-0.1 * (3 * a**2 + b**2 * 3):.3f}"
    )

# %% [markdown]
# The weight does not decide the step. How it is split between B and A decides, too. The true gradient G has no
# such freedom: it depends on W alone.
#
# ## Is α the learning rate?
#
# People say: "α and the learning rate do the same, tune one of them." Check it on the first step, where B = 0. Double
# α, so s doubles.
#
# - Under SGD the step is −η s² G AᵀA: it becomes 4 times as long. Doubling η makes it 2 times as long.
# - Under Adam the step of B has length about η in every entry, however large the gradient is. The weight moves by
#   s times that, times A: it becomes 2 times as long.

# %%
G = rng.normal(size=(d, k))
for name in ("SGD", "Adam"):
    sizes = []
    for scale in (1.0, 2.0):
        if name == "SGD":
            W1, _ = sgd_step(W0, zero, G, scale=scale, lr=1e-3)
        else:
            W1, _, _ = adam_step(W0, zero, G, optim.adam_init(zero), scale=scale, lr=1e-3)
        sizes.append(np.linalg.norm(W1 - W0))
    print(f"{name}: twice the scale, a first step {sizes[1] / sizes[0]:.2f} times as long")

# %% [markdown]
# So what the rate can stand in for depends on the optimizer. The exact trades, over a whole training run, are in the
# [Optimizer room](app:optimizer?opt_look=%CE%B1+and+the+rate&opt_c=4).
#
# ## Lose something each time, lose nothing on average
#
# Now let go of training B and A. Draw them anew at every step, at random, and use them only to choose what a step may
# see. With rank 1 take a column u of k random numbers and a row v of d, and let A = uᵀ and B = vᵀ:
#
# [view-random]
#
# One such step sees very little. But the *mean* over many draws? Take random signs, +1 or −1, for u of length 2. There
# are four draws: (1, 1), (1, −1), (−1, 1), (−1, −1). The product of u with itself is [[1, 1], [1, 1]] twice and
# [[1, −1], [−1, 1]] twice. The mean is [[1, 0], [0, 1]]: the identity. Numbers from a Gaussian do the same, if they
# have mean 0 and variance 1. (𝔼 is the mean over all draws there can be.)
#
# [view-random-identity]
#
# So the mean of G AᵀA is G, and the mean of B Bᵀ G is G. Together that makes 2 G; with r rows and columns, 2 r G:
#
# [view-random-mean]
#
# The post where this view comes from says that the random form "is equivalent to full-rank SGD". It is, with 2r times
# the rate. The factor is easy to overlook. We go through *all* signs for a 3 × 2 layer and see it exactly.

# %%
G = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
total, ranks = np.zeros((3, 2)), set()
for v in itertools.product((1.0, -1.0), repeat=3):
    for u in itertools.product((1.0, -1.0), repeat=2):
        draw = LoraParams(B=np.array(v)[:, None], A=np.array(u)[None, :])
        update = first_order_update(G, draw, scale=1.0, lr=0.5)
        ranks.add(int(np.linalg.matrix_rank(update)))
        total += update
print(total / 32)
print("expected:", expected_random_update(G, lr=0.5).tolist(), "; ranks of single updates:", ranks)
assert (total / 32 == -2 * 0.5 * G).all()

# %% [markdown]
# Each update has rank 2 at most; their mean is the whole gradient. The error of a mean of n draws falls like 1/√n:
# see [many random steps](app:optimizer?opt_look=random+factors&opt_rank=1).
#
# ### Exercise 10.3 ★★ · The mean of many draws
#
# Write `mean_update(gW, Bs, As, lr)`. `gW` is (d, k). `Bs` is (n, d, r) and `As` is (n, r, k): n draws of both factors.
# Each draw gives the update −lr (gW AᵀA + B Bᵀ gW), with s = 1. Return the mean of the n updates, (d, k).
#
# Example: d = k = r = 1, gW = 1, lr = 0.5, two draws with B = 1, A = 1 and B = 1, A = −1. Each update is
# −0.5 · (1 + 1) = −1, and so is their mean. Think before you average: what is the mean of A here?


# %% tags=["exercise"]
def mean_update(gW, Bs, As, lr):
    """Return the mean over all draws of -lr (gW A^T A + B B^T gW)."""
    # BEGIN SOLUTION
    updates = [-lr * (gW @ A.T @ A + B @ B.T @ gW) for B, A in zip(Bs, As, strict=True)]
    return sum(updates) / len(updates)
    # END SOLUTION


# %% tags=["check"]
check("10.3", mean_update)

# %% [markdown]
# ## Sums in the place of products
#
# LoRA of rank 1 says: entry (i, j) of the increment is bᵢ · aⱼ. Why not bᵢ + aⱼ? Every row gets a number, every column
# gets a number, and they are added. B is (d, 1), A is (1, k), and 1 is a row or a column of ones.
#
# [additive-weight]
#
# By hand: B = (1, 2)ᵀ and A = (10, 20) give [[11, 21], [12, 22]]. This matrix has rank 2, with the same number of
# parameters that give a product rank 1.
#
# The gradients are as plain as can be: the sums of the rows of G, and the sums of its columns.
#
# [additive-grad]
#
# Look at what is *not* in them: neither B nor A. So both may start at zero, and both learn from the first step.

# %%
start = AdditiveParams(B=np.zeros((3, 1)), A=np.zeros((1, 2)))
step_B, step_A = additive_gradient(G, start, scale=1.0)
assert (step_B[:, 0] == G.sum(axis=1)).all()
assert (step_A[0] == G.sum(axis=0)).all()
print("gB:", step_B[:, 0], " gA:", step_A[0])

# %% [markdown]
# For r > 1 cut the weight into blocks of r × r. The row of ones becomes E = [I I … I], r × r identities side by side.
# The equation writes it I with the index r (1 × k/r); the column of ones becomes identities under each other.
#
# [additive-blocks]
#
# For r = 2 and k = 4, B E is [B B]: B is laid down twice, side by side. So column j of the weight gets column
# (j mod r) of B, and row i gets row (i mod r) of A. The gradients go the way back. What was copied is summed:
#
# [additive-blocks-grad]
#
# That is: gB sums the column *blocks* of G. For r = 2 and k = 4, gB = G[:, 0:2] + G[:, 2:4], times s.

# %%
G = np.arange(24.0).reshape(6, 4)
p = AdditiveParams(B=rng.normal(size=(6, 2)), A=rng.normal(size=(2, 4)))
E_k, E_d = np.tile(np.eye(2), (1, 2)), np.tile(np.eye(2), (1, 3))
W0 = np.zeros((6, 4))
assert np.allclose(additive_weight(W0, p, scale=0.5), 0.5 * (p.B @ E_k + E_d.T @ p.A))
gB, gA = additive_gradient(G, p, scale=0.5)
assert np.allclose(gB, 0.5 * (G[:, 0:2] + G[:, 2:4]))
assert np.allclose(gA, 0.5 * (G[0:2] + G[2:4] + G[4:6]))
of_product, of_sum = (np.linalg.matrix_rank(M) for M in (p.B @ p.A, p.B @ E_k + E_d.T @ p.A))
print(f"rank of the product: {of_product}, rank of the sum: {of_sum}")

# %% [markdown]
# Is more rank more freedom? No. Move a constant from A to B and the weight does not notice: for r = 1,
# (bᵢ + c) + (aⱼ − c) = bᵢ + aⱼ. In general an r × r matrix C may move, so r² of the r (d + k) numbers do nothing.
#
# [additive-gauge]
#
# And a sum can only make stripes. Which task likes stripes? Compare
# [a task of directions](app:optimizer?opt_look=sums+of+strips&opt_wanted=directions) with
# [a task of rows and columns](app:optimizer?opt_look=sums+of+strips&opt_wanted=rows+and+columns).

# %%
moved = additive_gauge(p, np.array([[5.0, 0.0], [1.0, 2.0]]))
assert np.allclose(additive_weight(W0, moved, scale=0.5), additive_weight(W0, p, scale=0.5))

# %% [markdown]
# ### Exercise 10.4 ★★★ · Gradients of the additive form
#
# Write `additive_gradients(gW, rank, scale)`. `gW` is (d, k); `rank` divides d and k. Return `gB` (d, r) and `gA`
# (r, k) by the rule above: column q of gB is `scale` times the sum of the columns q, q + r, q + 2r, … of gW; row q of
# gA is `scale` times the sum of the rows q, q + r, q + 2r, … of gW.
#
# Example: gW = [[1, 2, 3, 4], [5, 6, 7, 8]], rank = 2, scale = 1. gB = [[1 + 3, 2 + 4], [5 + 7, 6 + 8]] = [[4, 6], [12,
# 14]]. There is only one block of rows, so gA = gW.


# %% tags=["exercise"]
def additive_gradients(gW, rank, scale):
    """Return gB, gA."""
    # BEGIN SOLUTION
    d, k = gW.shape
    gB = scale * gW.reshape(d, k // rank, rank).sum(axis=1)
    gA = scale * gW.reshape(d // rank, rank, k).sum(axis=0)
    return gB, gA
    # END SOLUTION


# %% tags=["check"]
check("10.4", additive_gradients)

# %% [markdown]
# ## Exit quiz
#
# **1.** LoRA starts with B = 0. What is the second-order term of its first SGD step?
#
# a) as large as the first-order term
#
# b) small, but not zero
#
# c) exactly zero
#
# d) it depends on the learning rate
#
# **2.** A has full rank, r = k, and B = 0. Which step does LoRA take, compared with full fine-tuning?
#
# a) another direction, because AᵀA stretches some directions more than others
#
# b) the same one
#
# c) the same direction, with another length
#
# d) none, because B is zero
#
# **3.** B and A are drawn anew at every step, with independent entries of mean 0 and variance 1, and rank r = 4. What
# is the mean of the updates?
#
# a) −η G
#
# b) −4 η G
#
# c) zero, because the mean of A is zero
#
# d) −8 η G
#
# **4.** You replace B by 2 B and A by A / 2. What changes?
#
# a) the output of the layer
#
# b) the next SGD step, though W stays as it is
#
# c) nothing at all
#
# d) the gradient of the weight
#
# **5.** Under Adam you double α and keep everything else. What becomes of the first step of the weight?
#
# a) it is as long as before, because Adam divides by the size of the gradient
#
# b) it is about twice as long
#
# c) it is 4 times as long
#
# d) it is half as long


# %% tags=["exercise"]
def quiz():
    """Return your five letters."""
    # BEGIN SOLUTION
    return "c", "a", "d", "b", "b"
    # END SOLUTION


# %% tags=["check"]
check("10.quiz", quiz)

# %% [markdown] tags=["solution"]
# **1.** c: the term is η² s³ G AᵀBᵀ G, and B is zero.
#
# **2.** a: the step is −η s² G AᵀA, and a random AᵀA is no multiple of the identity.
#
# **3.** d: both terms have the mean r G, so 2 r η G in all.
#
# **4.** b: W and G stay, but gB and gA depend on the factors one by one.
#
# **5.** b: B's step has the length of the rate, whatever the gradient; the weight moves by s times it.

# %% [markdown]
# ## Where next
#
# - [How well does a step follow the gradient, rank by rank?](app:optimizer?opt_look=one+step&opt_before=10)
# - [A trade of α for the rate that Adam does not accept](app:optimizer?opt_look=%CE%B1+and+the+rate&opt_c=4)
# - [Lesson 11](lesson:11): LoRA among its neighbours. [Lesson 13](lesson:13): the effective gradient as a way to prune.
