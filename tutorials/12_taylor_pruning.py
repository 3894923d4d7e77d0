# %% [markdown]
# # 12 · Pruning by Taylor expansion
#
# **Time:** 60 minutes · **Before:** 05
#
# **Goals:** predict what removing weights does to the loss, from one gradient; read that prediction off the
# activations, without a gradient of the weight; say where the prediction fails, and why.
#
# **The mistake this cures:** "A small weight is an unimportant weight."

# %%
import numpy as np

from lora_np import prune
from lora_np.prune.groups import columns, heads, rows
from lora_np.teach import check, hint, picture

# %% [markdown]
# ## Small is not unimportant
#
# To prune is to remove weights and to lose as little as possible. Which ones may go?
#
# Take the smallest network there is. Two inputs x = (0.1, 10), two weights w = (3, 0.5), one output.
#
# - The output is y = 3 · 0.1 + 0.5 · 10 = 5.3.
# - The target is t = 5. The error is e = y − t = 0.3.
# - The loss is L = ½ e² = 0.045.
#
# Remove the **large** weight 3: y becomes 5, and the loss falls to 0. Remove the **small** weight 0.5: y
# becomes 0.3, and the loss jumps to 11.045. The small weight does the work, because its input is large.

# %%
x, w, t = np.array([0.1, 10.0]), np.array([3.0, 0.5]), 5.0


def loss_of(weights):
    """Half the squared error of the one output."""
    return 0.5 * (weights @ x - t) ** 2


before = loss_of(w)
after = np.array([loss_of(np.array([0.0, 0.5])), loss_of(np.array([3.0, 0.0]))])
f = before - after
print(f"output {w @ x:.1f}, without the large weight {0.5 * 10:.1f}, without the small one {3 * 0.1:.1f}")
print(f"loss before {before:.3f}, after {after[0]:.3f} and {after[1]:.3f}")
print(f"f = before - after: {f[0]:.3f} and {f[1]:.3f}; squared {f[0] ** 2:.6f} and {f[1] ** 2:.0f}")
assert np.allclose(f, [0.045, -11.0])
assert np.allclose(f**2, [0.002025, 121])

# %% [markdown]
# We write f for *loss before − loss after*. It is negative where the weight was needed. The importance of a
# set S of weights is the square of it:
#
# [prune-true]
#
# The equation is written for LoRA, where the weight is W₀ + B A. 𝒟 is the data, and the bar reads "with".
# Why "B A with −W₀ on S" means that the weights of S are gone, the next section shows.
#
# So the large weight has importance 0.002025, the small one 121. Magnitude had it backwards.
#
# The square has a price: it forgets the sign. A weight whose removal would *help* a lot counts as
# important, too.
#
# To know f we removed each weight and computed the loss again. That is called *leave one out*. It is the
# truth, and it is slow: one forward pass for each candidate. The engine has it as `true_removal_loss`.

# %%
W, X, T = (
    w[None, :],
    x[None, :],
    np.array([[t]]),
)  # one row of weights (1, 2), one row of data (1, 2), one target


def loss(weights):
    """Half the squared error, summed over rows and outputs: weights (d, k), X (N, k), T (N, d)."""
    return 0.5 * np.sum((X @ weights.T - T) ** 2)


truth = prune.true_removal_loss(loss, W, columns(2))
assert np.allclose(truth.difference, f)
assert np.allclose(truth.squared, f**2)

# %% [markdown]
# ### Exercise 12.1 ★ · Leave one out
#
# A layer has weights W (d, k). X (N, k) holds inputs, T (N, d) targets, and the loss is L = ½ Σ (X Wᵀ
# − T)², summed over all rows and outputs. To *remove input j* is to set column j of W to zero, and nothing
# else.
#
# Write `removal(X, W, T)`. Return f, of shape (k,): for each j, the loss with all of W minus the loss
# without column j. Do not change W itself.
#
# Example: X = [[0.1, 10]], W = [[3, 0.5]], T = [[5]] gives [0.045, −11].


# %% tags=["exercise"]
def removal(X, W, T):
    """Return f (k,): loss before minus loss after, for each column of W removed alone."""

    # BEGIN SOLUTION
    def loss(weights):
        return 0.5 * np.sum((X @ weights.T - T) ** 2)

    f = np.zeros(W.shape[1])
    for j in range(W.shape[1]):
        without = W.copy()
        without[:, j] = 0
        f[j] = loss(W) - loss(without)
    return f
    # END SOLUTION


# %% tags=["check"]
check("12.1", removal)

# %% [markdown]
# ## Removing is a step
#
# Setting a weight to zero sounds like surgery. It is only a step: W moves to W + V, and on the set S the
# step is V = −W. Everywhere else V = 0.
#
# With an adapter the weight in use is W = W₀ + s B A, of shape (d, k), with B (d, r) and A (r, k). The
# frozen W₀ may not move. So the increment has to cancel it: on S, s B A becomes −W₀. (The equation leaves
# out s: s = 1.)
#
# [prune-f-removed]
#
# Same thing: the weight in use is zero on S. We check it on the first row.

# %%
rng = np.random.default_rng(0)
d, k, r, s = 3, 4, 2, 0.5
W0, B, A = rng.normal(size=(d, k)), rng.normal(size=(d, r)), rng.normal(size=(r, k))
increment = s * (B @ A)
increment[0] = -W0[0]  # the first row of the increment cancels the first row of W0
kept = np.array([False, True, True])
assert np.array_equal(W0 + increment, prune.masked(W0 + s * (B @ A), rows(d), kept))
print("cancelling W0 and masking W agree")

# %% [markdown]
# ## The first term
#
# Let G (d, k) be the gradient of the loss: G_ij = ∂L/∂W_ij. For a small step V, the loss changes by about
# the sum of all G_ij V_ij. That is what a gradient means. Now put in the step of removal, V = −W on S:
#
# loss after ≈ loss before − Σ over S of G_ij W_ij, so **f ≈ Σ over S of G_ij W_ij**.
#
# [prune-taylor-1]
#
# (W₀ + B A on S is just W on S, so both sides of the last equal sign are the same sum.)
#
# Mind the sign. f has a minus in front of the loss *after*, so its gradient is minus G:
#
# [prune-grad-sign]
#
# The step is −W, the gradient of f is −G. Minus times minus: plus. (A much-read text on LoRAPrune prints a
# minus here. The square hides it, so nobody noticed.)
#
# By hand: G = e x = 0.3 · (0.1, 10) = (0.03, 3). Write ⊙ for multiplying entry by entry. Then
# G ⊙ w = (0.03 · 3, 3 · 0.5) = (0.09, 1.5), weight by weight.

# %%
G = ((X @ W.T - T).T) @ X  # (1, 2), which is e times x
first = prune.taylor_1(W, G, columns(2))
print(f"G = {G[0].round(3)}, first term = {first.round(3)}, truth = {f.round(3)}")
assert np.allclose(first, (G * W).sum(axis=0))
assert np.allclose(first, [0.09, 1.5])

# %% [markdown]
# The first weight: predicted 0.09, truth 0.045. Twice too much, but small, and the sign is right. The
# second weight: predicted +1.5, truth −11. **Even the sign is wrong.** Keep this in mind; we shall find the
# reason soon.
#
# Still, squared, the *order* is right: 0.0081 against 2.25. Pruning needs only an order.

# %%
print("importance to first order:", (first**2).round(4))
assert np.allclose(first**2, [0.0081, 2.25])

# %% [markdown]
# ### Exercise 12.2 ★ · The first term
#
# Given W (d, k) and its gradient G (d, k), write `first_term(W, G)`. Return the first-order prediction of f
# for every **row** removed alone: shape (d,), with its sign, not squared.
#
# Example: W = [[1, 2], [3, 4]] and G = [[1, −1], [1, 0.5]] give [1 · 1 − 1 · 2, 1 · 3 + 0.5 · 4] = [−1, 5].


# %% tags=["exercise"]
def first_term(W, G):
    """Return the first-order f (d,) of each row."""
    # BEGIN SOLUTION
    return (G * W).sum(axis=1)
    # END SOLUTION


# %% tags=["check"]
check("12.2", first_term)

# %% [markdown]
# ## The second term
#
# Why did the first term say +1.5 where the truth is −11? A gradient is the slope *here*. The step goes far:
# the output moves from 5.3 to 0.3. On the way the loss reaches its minimum, turns, and climbs. A slope does
# not know of turns.
#
# The turn is in the second derivative H, the slope of the slope. For our loss and one weight, H_jj = x_j².
# With the step −w it bends the loss by w H w, and half of this bend comes off the first term:
#
# f ≈ G · w − ½ w H w.
#
# [prune-taylor-2]
#
# By hand. First weight: 0.09 − ½ · (3 · 0.1)² = 0.09 − 0.045 = 0.045. Second: 1.5 − ½ · (0.5 · 10)² = 1.5
# − 12.5 = −11. Both are the truth exactly. They must be: the loss is quadratic, so the series ends here.

# %%
second = prune.taylor_2(W, G, lambda V: (V @ X.T) @ X, columns(2))  # H V, for least squares
bend = (w * x) ** 2
print(f"first term {first.round(3)} minus half the bend {(bend / 2).round(3)} = {second.round(3)}")
assert np.allclose(second, first - bend / 2)
assert np.allclose(second, truth.difference)

# %% [markdown]
# Why then does anybody stop at the first term? Because of the size of H. It has one entry for each *pair*
# of weights. A layer with d = k = 4096 has 16,777,216 weights, and H has 281,474,976,710,656 entries. The
# gradient comes for free with training; H does not.

# %%
print(f"{4096**2:,} weights, {4096**4:,} entries of H")

# %% [markdown]
# ### Exercise 12.3 ★★ · Both terms
#
# The loss is again L = ½ Σ (X Wᵀ − T)², with X (N, k), W (d, k), T (N, d). Write `both_terms(X, W, T)`.
# Return the first term minus half the bend for each **column** removed alone: shape (k,). Do not remove
# anything: use the gradient G = (X Wᵀ − T)ᵀ X (d, k), and the bend of column j, which is Σ_n Σ_i (X_nj
# W_ij)².
#
# Example: X = [[0.1, 10]], W = [[3, 0.5]], T = [[5]] gives [0.045, −11], as above.


# %% tags=["exercise"]
def both_terms(X, W, T):
    """Return the second-order f (k,) of each column."""
    # BEGIN SOLUTION
    G = (X @ W.T - T).T @ X  # (d, k)
    first = (G * W).sum(axis=0)  # (k,)
    bend = (X**2).sum(axis=0) * (W**2).sum(axis=0)  # (k,)
    return first - bend / 2
    # END SOLUTION


# %% tags=["check"]
check("12.3", both_terms)

# %% [markdown]
# ## How wrong is the first term?
#
# Let the step be shorter. Remove only a share ε of a weight: V = −ε w. The first term is then ε G w. What
# it leaves out is ½ ε² w H w, and terms that are smaller still. So **a tenth of the step leaves a hundredth
# of the error**.
#
# We try it with a loss that is *not* quadratic: the logistic loss log(1 + exp(−y)).

# %%
w3, x3 = np.array([0.7, -1.1, 0.4]), np.array([1.0, 0.5, -2.0])


def logistic(weights):
    """Log of 1 + exp(−y) for the one output y."""
    return np.log1p(np.exp(-(weights @ x3)))


slope = -x3 / (1 + np.exp(w3 @ x3))  # the gradient of the logistic loss
errors = []
for share in (0.01, 0.001, 0.0001):
    step = np.array([share * w3[0], 0, 0])
    errors.append(abs(logistic(w3) - logistic(w3 - step) - slope @ step))
print("errors", [f"{error:.1e}" for error in errors])
ratios = np.array(errors[:-1]) / errors[1:]
print("ratios", ratios.round())
assert np.array_equal(ratios.round(), [100, 100])

# %% [markdown]
# Real pruning uses ε = 1, the whole weight. There, nothing promises that the first term is near. It has to
# be *tried*.
#
# ## A group: add first, or square first
#
# Hardware does not gain from single zeros. What makes a network smaller is a whole row, a column, a head: a
# *group*. A group leaves together, so the step is −W on all of it, and the first term is the sum over all
# of it:
#
# [prune-importance]
#
# Add first, then square. LoRAPrune squares first and then adds:
#
# [prune-group-sum]
#
# That is another number. By hand: a row has W = (1, 2) and G = (2, −1). So G ⊙ W = (2, −2).
#
# - Add, then square: (2 − 2)² = 0. To first order the two changes cancel, and the row may go.
# - Square, then add: 4 + 4 = 8. As if each weight left alone.
# - Absolute values, added: 2 + 2 = 4. LoRAPrune's released program does this.

# %%
W_row, G_row = np.array([[1.0, 2.0]]), np.array([[2.0, -1.0]])
for form in ("dot-squared", "sum-squared", "sum-abs"):
    print(f"{form:12} {prune.importance(W_row, G_row, rows(1), form=form)[0]:g}")
assert [prune.importance(W_row, G_row, rows(1), form=form)[0] for form in prune.FORMS] == [0, 8, 4]

# %% [markdown]
# Which one is right? The first is what the expansion says. The other two never cancel; they measure how
# *busy* a group is. Near a minimum, where the signed sum is mostly noise, busy can be the better guide. We
# shall measure it.
#
# ### Exercise 12.4 ★★ · Heads
#
# A *head* is a block of rows: with d rows and q heads, head 0 is the first d / q rows, head 1 the next d /
# q, and so on. Given W (d, k), G (d, k) and the whole number q, write `head_importance(W, G, q)`. Return
# the importance of every head by the equation that adds first and squares last: shape (q,).
#
# Example: W = [[1, 2], [3, 4]] and G = [[2, −1], [1, 0.5]]. With q = 2 the row sums are 0 and 5: [0, 25].
# With q = 1: [25].


# %% tags=["exercise"]
def head_importance(W, G, q):
    """Return (Σ G W)² of each of q blocks of rows."""
    # BEGIN SOLUTION
    d, k = W.shape
    return (G * W).reshape(q, d // q * k).sum(axis=1) ** 2
    # END SOLUTION


# %% tags=["check"]
check("12.4", head_importance)

# %%
W4, G4 = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
blocks = [sum((G4 * W4)[2 * head : 2 * head + 2].ravel()) ** 2 for head in range(3)]
assert np.allclose(blocks, prune.importance(W4, G4, heads(6, 3)))

# %% [markdown]
# ## The gradient for free
#
# A layer computes Y = X Wᵀ, with X (N, k) and Y (N, d). Backward hands it gY (N, d), the gradient of the
# loss at its output. The gradient of the weight is one product, and any part of it is a product of parts:
#
# [prune-exact]
#
# That product costs N d k multiply-adds and a (d, k) array. For the importance of a row we can do without.
# Write the sum out and swap:
#
# Σ_j G_ij W_ij = Σ_j Σ_n gY_ni X_nj W_ij = Σ_n gY_ni (Σ_j X_nj W_ij) = Σ_n gY_ni Y_ni.
#
# The inner sum is the output, which forward has already computed.
#
# [prune-group-dot]
#
# By hand: X = [[2, 1]], W = [[1, 3], [4, 0]], gY = [[1, 2]]. Then Y = [[5, 8]], and gY ⊙ Y = [[5, 16]]. The
# long way: G = [[2, 1], [4, 2]], G ⊙ W = [[2, 3], [16, 0]], and the row sums are 5 and 16.

# %%
X2, W2, gY2 = np.array([[2.0, 1.0]]), np.array([[1.0, 3.0], [4.0, 0.0]]), np.array([[1.0, 2.0]])
Y2, G2 = X2 @ W2.T, gY2.T @ X2
print("off activations", (gY2 * Y2).sum(axis=0), " the long way", (G2 * W2).sum(axis=1))
assert np.array_equal(prune.gradients.exact(gY2, X2), G2)
assert np.array_equal(prune.group_dot(gY2, Y2), (G2 * W2).sum(axis=1))

# %% [markdown]
# Only the plain sum swaps. Squares and absolute values do not: they need every G_ij. So the form that
# Taylor asks for is also the cheap one.
#
# ### Exercise 12.5 ★★★ · Read it off the activations
#
# The layer has a bias b (d,): Y = X Wᵀ + b. You get gY (N, d), Y (N, d) and b, and neither X nor W. Write
# `row_sums(gY, Y, b)`. Return Σ_j G_ij W_ij of every row i: shape (d,). The bias is not one of the weights
# of the row.
#
# Example: gY = [[1, 2]], Y = [[6, 8]], b = [1, 0] gives [1 · (6 − 1), 2 · 8] = [5, 16].


# %% tags=["exercise"]
def row_sums(gY, Y, b):
    """Return Σ_j G_ij W_ij (d,) without G and without W."""
    # BEGIN SOLUTION
    return (gY * (Y - b)).sum(axis=0)
    # END SOLUTION


# %% tags=["check"]
check("12.5", row_sums)

# %% [markdown]
# ## Where it fails
#
# **One: the step is long.** You have seen it: +1.5 predicted, −11 true.
#
# **Two: the network is well trained.** Let x = (1, 1), w = (1, 1), t = 2. The output is 2, the error 0. So
# the gradient is 0, and both importances are 0: "nothing matters". In truth each removal costs ½. At a
# minimum there is no slope; all the harm is in the bend.
#
# **Three: groups leave together.** In the same network, remove both weights: the loss is ½ · 2² = 2. The
# two halves add up to 1 only. Every criterion of this lesson judges a group as if all others stayed. Two
# units that stand in for each other look harmless one by one. Even leave-one-out, the truth, makes this
# mistake.

# %%
X5, W5, T5 = np.array([[1.0, 1.0]]), np.array([[1.0, 1.0]]), np.array([[2.0]])
G5 = (X5 @ W5.T - T5).T @ X5
alone = prune.true_removal_loss(lambda V: 0.5 * np.sum((X5 @ V.T - T5) ** 2), W5, columns(2)).difference
both = -0.5 * 2.0**2
print(f"predicted {(G5 * W5)[0]}, true alone {alone}, true together {both}")
assert not G5.any()
assert np.array_equal(alone, [-0.5, -0.5])
assert both == 2 * alone.sum()

# %% [markdown]
# ## On real digits
#
# Now a network with 64 inputs, 96 and 64 hidden units and 10 classes. It was trained on handwritten digits,
# then adapted by LoRA for 100 steps to rotated ones. A group is a hidden unit: its row in one layer, its
# column in the next. We removed each of the 160 units in turn, for the truth.
#
# How well does a criterion *order* the units? Put them in order by the criterion and by the truth, and
# correlate the two lists of places: 1 for the same order, 0 for no relation.

# %%
from lora_np.figures.prune_scene import rank_correlation, shipped_run
from lora_np.training.scores import score

run = shipped_run()
print(f"{sum(scores.size for scores in run.removal)} hidden units")
correlations = {}
for criterion in ("gradient-dot", "gradient-squares", "magnitude"):
    pairs = zip(score(criterion, run.seen), run.removal, strict=True)
    correlations[criterion] = [round(rank_correlation(scores, true), 2) for scores, true in pairs]
    print(
        f"{criterion:17} first hidden layer {correlations[criterion][0]}, second {correlations[criterion][1]}"
    )
assert min(correlations["gradient-dot"]) > 0.6
assert correlations["magnitude"][0] < 0.2

# %% [markdown]
# The exact gradient orders the units of the first layer at about 0.76, those of the second at 0.63.
# Magnitude reaches 0.06 and 0.37: next to nothing, and not much. In [the pruning
# room](app:prune?criterion=gradient-dot&ratio=0.3) you see every unit as a point; compare it with [small
# weights first](app:prune?criterion=magnitude&ratio=0.3).

# %% tags=["picture"]
from lora_np.figures import prune as pictures
from lora_np.figures.prune_scene import prune_scene, shipped_run
from lora_np.teach import picture

digits = shipped_run()
scene = prune_scene(digits, "gradient-dot", 0.3)
picture(
    pictures.against_truth(
        scene.scores[0],
        digits.removal[0],
        scene.kept[0],
        criterion="gradient-dot",
        correlation=scene.correlation[0],
    )
)

# %% [markdown]
# And failure two, measured. For five networks we removed 30 % of the hidden units at once, after 100 steps
# of LoRA and again after 1000. The longer training leaves less slope.

# %%
from lora_np.training.experiments.records import shipped_records, summary

at_30 = [row for row in shipped_records("prune at once") if row["ratio"] == 0.3]
mean = {
    (row["criterion"], row["adapted_for"]): row["mean"]
    for row in summary(at_30, by=["criterion", "adapted_for"])
}
for criterion in ("removal", "gradient-dot", "gradient-squares"):
    print(
        f"{criterion:17} accuracy {mean[criterion, 100]:.2f} after 100 steps, {mean[criterion, 1000]:.2f} after 1000"
    )
assert mean["removal", 1000] > mean["removal", 100] + 0.05
assert mean["gradient-dot", 1000] < mean["gradient-dot", 100] - 0.05

# %% [markdown]
# Read it slowly. With the truth as guide, the better trained network is also the one that survives better:
# 0.84 becomes 0.91. With the first term as guide it survives *worse*: 0.81 becomes 0.71. The slope has
# gone, and with it the information. The form that squares first suffers less: it ends at 0.81.
#
# ## Exit quiz
#
# **1.** Two weights are 0.01 and 5. Which one may be pruned?
#
# - a) the one of 0.01: it is smaller
# - b) the one of 5: it has more to give
# - c) it cannot be said: one needs to know what their inputs and the loss do
# - d) neither: pruning needs a retrained network
#
# **2.** The loss is at a minimum, so G = 0. What is the first-order importance of every group?
#
# - a) 0, although removing some groups would hurt
# - b) 0, so any group may go without harm
# - c) infinite: nothing may go
# - d) the magnitude of the group
#
# **3.** A row has G ⊙ W = (3, −3). What is (Σ G W)², and what is Σ (G W)²?
#
# - a) 18 and 0
# - b) 36 and 18
# - c) 0 and 0
# - d) 0 and 18
#
# **4.** Why can Σ_j G_ij W_ij be read off gY and Y, and Σ_j (G_ij W_ij)² not?
#
# - a) squares are too large for the memory
# - b) the plain sum over j goes through to X, and Σ_j X_nj W_ij is Y; a square is in the way
# - c) it can, with (gY ⊙ Y)²
# - d) because G is frozen


# %% tags=["exercise"]
def quiz():
    """Return your four letters."""
    # BEGIN SOLUTION
    return "c", "a", "d", "b"
    # END SOLUTION


# %% tags=["check"]
check("12.quiz", quiz)

# %% [markdown] tags=["solution"]
# **1.** c: in the first example the small weight carried the output. **2.** a: the harm is in the bend,
# which the first term does not see. **3.** d: adding first lets the two cancel; squaring first gives 9 + 9.
# **4.** b: only a plain sum can be swapped with the sum over the batch.

# %% [markdown]
# ## Where next
#
# With LoRA, the frozen weight has no gradient at all: nobody computes it. LoRAPrune *estimates* it from the
# two strips. What the estimate really is, and how far it carries, is [lesson 13](lesson:13).
#
# In the app: [cut half of the units by the exact gradient](app:prune?criterion=gradient-dot&ratio=0.5),
# then [by the truth](app:prune?criterion=removal&ratio=0.5). The truth of single removals is not the best
# guide for many.
