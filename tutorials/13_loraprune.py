# %% [markdown]
# # 13 · LoRAPrune
#
# **Time:** 75 minutes · **Before:** 05, 12
#
# **Goals:** compute LoRAPrune's estimate of a gradient that nobody computed, and say what it really is; set
# exact, estimated and true importance side by side; prune a network step by step until it is smaller.
#
# **The mistake this cures:** "LoRAPrune estimates the gradient of the frozen weight, so its estimate is
# about that gradient."

# %%
import numpy as np

from lora_np import prune
from lora_np.lora import LoraParams
from lora_np.prune import gradients
from lora_np.teach import check, hint, picture

# %% [markdown]
# ## The missing gradient
#
# Lesson 12 ranked groups of weights by G ⊙ W. It needs G (d, k), the gradient of the weight.
#
# LoRA does not have it. The weight in use is W = W₀ + s B A, with W₀ (d, k) frozen, B (d, r), A (r, k) and
# a number s. Backward computes gB (d, r) and gA (r, k), the gradients of the two strips, and stops there.
# That is why LoRA is cheap.
#
# LoRAPrune asks: can gB and gA stand in for G?
#
# ## One step, by hand
#
# Take everything 1 × 1, with s = 1. Let B = 2 and A = 3, so B A = 6. Let the true gradient be G = 0.5.
# Lesson 05 gives gB = G A = 1.5 and gA = B G = 1.
#
# Now take one step of plain SGD on the strips, with learning rate η = 0.1:
#
# - B becomes 2 − 0.15 = 1.85, and A becomes 3 − 0.1 = 2.9.
# - The product becomes 1.85 · 2.9 = 5.365. It has moved by 6 − 5.365 = 0.635.
#
# Had we trained the weight itself, SGD would have moved it by η G. So divide by η, and call the result the
# estimated gradient: 0.635 / 0.1 = 6.35. Multiplied out, the same number is gB A + B gA − η gB gA = 4.5 + 2
# − 0.15.
#
# [prune-estimate-sgd]
#
# LoRAPrune sets η to 1 and writes Ĝ (say "G hat") for the estimate:
#
# [prune-estimate]
#
# Here Ĝ = 4.5 + 2 − 1.5 = 5. The true gradient is 0.5. **Ten times too large**, in the smallest example
# there is.

# %%
B, A, G, lr = 2.0, 3.0, 0.5, 0.1
gB, gA = G * A, B * G
moved = B * A - (B - lr * gB) * (A - lr * gA)
print(f"the step takes off {lr * gB:.2f} and {lr * gA:.1f}: B = {B - lr * gB:.2f}, A = {A - lr * gA:.1f}")
print(
    f"B A was {B * A:g}, is {(B - lr * gB) * (A - lr * gA):.3f}; moved {moved:.3f}, over lr {moved / lr:.2f}"
)
print(f"with learning rate 1: {gB * A:g} + {B * gA:g} - {gB * gA:g} = {gB * A + B * gA - gB * gA:g}")
p, g = (LoraParams(np.array([[b]]), np.array([[a]])) for b, a in ((B, A), (gB, gA)))
assert np.isclose(gradients.estimated(p, g, lr=lr)[0, 0], moved / lr)
assert gradients.estimated(p, g)[0, 0] == 5.0

# %% [markdown]
# ### Exercise 13.1 ★ · The estimate
#
# Given B (d, r), A (r, k) and their gradients gB (d, r), gA (r, k), write `estimate(B, A, gB, gA)`. Return
# Ĝ (d, k) with the learning rate 1.
#
# Example: B = [[2]], A = [[3]], gB = [[1.5]], gA = [[1]] gives [[5]].


# %% tags=["exercise"]
def estimate(B, A, gB, gA):
    """Return LoRAPrune's estimate (d, k) of the gradient."""
    # BEGIN SOLUTION
    return gB @ A + B @ gA - gB @ gA
    # END SOLUTION


# %% tags=["check"]
check("13.1", estimate)

# %% [markdown]
# ## What it really is
#
# We know what gB and gA are made of: gB = s G Aᵀ and gA = s Bᵀ G. Put them in. The first two terms become
#
# gB A + B gA = s (G AᵀA + B BᵀG).
#
# [prune-projected]
#
# There is the true gradient, twice, and each time something stands in its way. G AᵀA passes each *row* of G
# through the rows of A. B BᵀG passes each *column* of G through the columns of B. What A and B do not
# contain is lost.
#
# By hand, at the start of training, where B = 0. Let s = 1, A = [[1, 0]] and G = [[1, 2], [3, 4]]. Then
# AᵀA = [[1, 0], [0, 0]], and the estimate is G AᵀA = [[1, 0], [3, 0]]. The first column is exact. The
# second column, with the larger numbers, is **invisible**.
#
# That is a shadow. A shadow is cast by the true thing, on a wall of at most 2 r dimensions. In the language
# of linear algebra: a projection, and a stretch where the rows of A do not have length 1.

# %%
G2, A2, B2 = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0]]), np.zeros((2, 1))
p2, g2 = LoraParams(B2, A2), LoraParams(G2 @ A2.T, B2.T @ G2)
print("estimate at B = 0:", gradients.estimated(p2, g2).tolist())
assert np.array_equal(gradients.estimated(p2, g2), [[1, 0], [3, 0]])

# %% [markdown]
# ### Exercise 13.2 ★★ · The shadow
#
# Given the true gradient G (d, k), the strips B (d, r) and A (r, k), and the number scale, write
# `shadow(G, B, A, scale)`. Return the two linear terms of the estimate, written with G: shape (d, k).
#
# Example: G = [[1, 2], [3, 4]], B = [[0], [0]], A = [[1, 0]], scale = 2 gives [[2, 0], [6, 0]].


# %% tags=["exercise"]
def shadow(G, B, A, scale):
    """Return what the linear part of the estimate sees of G (d, k)."""
    # BEGIN SOLUTION
    return scale * (G @ (A.T @ A) + (B @ B.T) @ G)
    # END SOLUTION


# %% tags=["check"]
check("13.2", shadow)

# %% [markdown]
# Three things follow that a gradient would never do. Back to 1 × 1, with G = 0.5 and Ĝ = 5.
#
# **It depends on how the product is split.** B = 6 and A = 1 give B A = 6 again: same weight, same loss,
# same G. But gB = 0.5 and gA = 3, so Ĝ = 0.5 + 18 − 1.5 = 17.
#
# **It does not keep step with the loss.** Double the loss, and every gradient doubles: gB = 3, gA = 2. The
# estimate becomes 9 + 4 − 6 = 7, not 10. The third term is quadratic in the gradient; it grows four times.
#
# **It has low rank.** Both terms with A, and both with B, can be joined: Ĝ = [gB | B − gB] [A ; gA], with 2
# r columns between. G has no such limit.

# %%
other, g_other = (LoraParams(np.array([[b]]), np.array([[a]])) for b, a in ((6.0, 1.0), (0.5, 3.0)))
split = gradients.estimated(other, g_other)
doubled = gradients.estimated(p, LoraParams(2 * g.B, 2 * g.A))
print(f"estimate 5; split otherwise {split[0, 0]:g}; with twice the loss {doubled[0, 0]:g}")
assert (split[0, 0], doubled[0, 0]) == (17, 7)

# %% [markdown]
# How near is it on a real network? The one of lesson 12: digits, three layers, strips of rank 4, after 100
# steps of LoRA. We compare directions: the cosine is 1 for the same direction, 0 for a right angle.

# %%
from lora_np.figures.prune_scene import rank_correlation, shipped_run

run = shipped_run()
net, trace, signals = run.seen.net, run.seen.trace, run.seen.signals
cosines = []
for layer in range(3):
    true = gradients.exact(signals.gY[layer], trace.X[layer])
    guess = gradients.estimated(net.adapters[layer], signals.adapters[layer])
    cosines.append(np.sum(true * guess) / np.linalg.norm(true) / np.linalg.norm(guess))
    ranks = np.linalg.matrix_rank(true), np.linalg.matrix_rank(guess)
    print(f"layer {layer + 1}: rank {ranks[0]} exact, {ranks[1]} estimated; cosine {cosines[-1]:.2f}")
assert max(cosines) < 0.5
assert min(cosines) > 0.2

# %% [markdown]
# Cosines of about 0.33, 0.27 and 0.42. A shadow, and not nothing.
#
# ## Exact, estimated, true
#
# Pruning does not need the gradient. It needs the *order* of the groups. Perhaps the shadow keeps the
# order?
#
# For each of the hidden units we have three answers to one question. The truth: remove it, and look at the
# loss. The exact gradient. The estimate. LoRAPrune squares weight by weight and then adds:
#
# [prune-group-sum]

# %%
from lora_np.training.scores import score

table = {}
for criterion in ("gradient-dot", "gradient-squares", "estimate", "magnitude"):
    pairs = zip(score(criterion, run.seen), run.removal, strict=True)
    table[criterion] = [rank_correlation(scores, true) for scores, true in pairs]
    print(
        f"{criterion:17} rank correlation with the truth {table[criterion][0]:.2f} and {table[criterion][1]:.2f}"
    )
assert min(table["gradient-dot"]) > 0.55
assert max(table["estimate"]) < 0.5
assert table["estimate"][0] > table["magnitude"][0]

# %% [markdown]
# The exact gradient orders the units of the two hidden layers at 0.76 and 0.63, the estimate at 0.39 and
# 0.34.
#
# Then why estimate at all? Because "the gradient of W₀ is not computed in LoRA". True, but it is one
# product away: G = gYᵀ X, and backward holds both. For the sum over a row even that product is not needed,
# as you saw in lesson 12. See both as clouds of points: [the
# estimate](app:prune?criterion=estimate&ratio=0.5) and [the exact
# gradient](app:prune?criterion=gradient-dot&ratio=0.5).
#
# The estimate has one honest advantage. It needs no activations, only what the optimizer holds anyway.
#
# ### Exercise 13.3 ★★ · LoRAPrune's score of a row
#
# Given W0 (d, k), B (d, r), A (r, k), gB (d, r), gA (r, k) and the number scale, write
# `row_scores(W0, B, A, gB, gA, scale)`. Return Σ_j (Ĝ_ij W_ij)² of every row i: shape (d,). W is the weight
# in use, with the scale. Ĝ is the estimate of exercise 13.1, without it.
#
# Example: W0 = [[1, 1]], B = [[2]], A = [[1, 0]], gB = [[1]], gA = [[0, 1]], scale = 0.5.
#
# - The estimate: gB A = [[1, 0]], B gA = [[0, 2]], gB gA = [[0, 1]], so Ĝ = [[1, 1]].
# - The weight: W = [[1, 1]] and half of [[2, 0]], which is [[2, 1]].
# - The score: 2² + 1² = 5. The answer is [5].


# %% tags=["exercise"]
def row_scores(W0, B, A, gB, gA, scale):
    """Return Σ (Ĝ W)² of each row (d,)."""
    # BEGIN SOLUTION
    W = W0 + scale * (B @ A)
    G_hat = gB @ A + B @ gA - gB @ gA
    return ((G_hat * W) ** 2).sum(axis=1)
    # END SOLUTION


# %% tags=["check"]
check("13.3", row_scores)

# %% [markdown]
# The program that LoRAPrune's authors released does not compute this. It adds absolute values instead of
# squares, and divides the scores of each matrix by their length:
#
# [prune-released]
#
# It also stops one step early: asked for half, it prunes 15 of 32 heads and 5503 of 11008 channels. An
# oracle writes such things down.

# %%
counts, last_ratio = prune.released.outcome([32, 11008], 0.5, total=312)
print("of 32 heads and 11008 channels, the released program prunes", counts)
assert counts == [15, 5503]

# %% [markdown]
# ## Which ones go: average, schedule, mask
#
# Do not cut at once. Train, score, cut a little, train on. Three small parts do it.
#
# **An average.** The score of one batch is noisy. Keep 0.9 of the old average and add 0.1 of the new score,
# from 0:
#
# [prune-ema]
#
# (Ĝ with t is the new score, Ḡ the average, and λ = 0.9 the weight of the past.)
#
# By hand: scores 10, 10 give 1, then 0.9 · 1 + 0.1 · 10 = 1.9. Too small at first, for all units alike, so
# the order is right.
#
# **A schedule.** Cut fast at first, while there is time to recover, then gently:
#
# [prune-cubic]
#
# (T is the number of steps, t the step; the share that is gone goes from s_i to s_f; w and c are the parts
# of the time, at the beginning and at the end, in which nothing is cut.)
#
# By hand: T = 100, from s_i = 0 to s_f = 0.5, w = c = 0.1. Step 50 lies halfway between 10 and 90, so half
# of the way is left, and 0.5³ of the cutting: 0.5 · (1 − 0.5³) = 0.4375. Nearly all, at half time.
#
# **A mask.** Of q units, the ⌊ratio · q⌋ with the lowest average go. Two rules: a tie goes to the lower
# number, and what is gone stays gone.
#
# [prune-mask]
#
# (M is 1 where group g stays. The threshold p is wherever it must be for the right number to go.)

# %%
average = None
for new in (10.0, 10.0):
    average = prune.schedule.moving_average(average, np.array([new]))
print("average", average.round(3), " share at step 50:", prune.schedule.cubic(50, total=100, final=0.5))
assert np.isclose(average[0], 1.9)
assert prune.schedule.cubic(50, total=100, final=0.5) == 0.4375

# %% [markdown]
# ### Exercise 13.4 ★★ · The mask
#
# Given scores (q,), a ratio from 0 to below 1, and the earlier mask kept (q,) of True and False, write
# `mask(scores, ratio, kept)`. Return the new mask (q,), True where a unit stays.
#
# - In all, ⌊ratio · q⌋ units are gone afterwards, those already gone among them.
# - What was gone stays gone, whatever its score. If more are gone already, nothing changes.
# - Among equal scores the lowest index goes first.
#
# Example: scores = [0, 9, 2, 1], ratio = 0.5, kept = [True, False, True, True]. Two are to be gone. Unit 1
# is. Unit 0 follows, with the lowest score of those left: [False, False, True, True].


# %% tags=["exercise"]
def mask(scores, ratio, kept):
    """Return the new mask (q,) of booleans."""
    # BEGIN SOLUTION
    to_go = int(ratio * len(scores)) - np.sum(~kept)
    order = [int(i) for i in np.argsort(scores, kind="stable") if kept[i]]
    new = kept.copy()
    new[order[: max(0, to_go)]] = False
    return new
    # END SOLUTION


# %% tags=["check"]
check("13.4", mask)

# %% [markdown]
# ## Step by step
#
# Now all of it on the digits. We start from the network as it was pretrained, and adapt it by LoRA to
# rotated digits. Every 10 steps the hidden units are scored by the estimate, and some are masked. Half of
# them, in the end.

# %%
from lora_np.figures.prune_scene import prune_live, prune_scene
from lora_np.training import PruneSettings, loop
from lora_np.training.experiments.adapting import adapted_start
from lora_np.training.pruning import mask_units, physically_shrunk, sparsity
from lora_np.training.scores import Seen

steps = 250
settings = PruneSettings("estimate", 0.5, training=loop.Settings("lora", steps, 2e-2))
rng = np.random.default_rng([10, 4])
before_lora = loop.Network(net.layers, activation=net.activation)
state = loop.start(adapted_start(before_lora, 4, rng), run.task, settings.training, rng)
small, optimizer, rng = state.network, state.optimizer, loop.generator_at(state.rng_state)
averages = [None, None]
for step in range(1, steps + 1):
    X, y = loop.draw_batch(run.task, settings.training, rng)
    _, trace, signals = loop.loss_and_signals(X, y, small)  # forward and backward
    seen = Seen(small, X, y, trace, signals, rng)
    small, optimizer = loop.update(small, optimizer, trace, signals, step, settings.training)  # train
    if step % settings.every == 0:
        new = score("estimate", seen)
        averages = [prune.schedule.moving_average(old, now) for old, now in zip(averages, new, strict=True)]
        small = mask_units(small, tuple(averages), settings.ratio_at(step))  # cut
    if step in (20, 50, 100, 150, 250):
        print(f"step {step:3}: {sparsity(small):4.0%} gone, accuracy {loop.evaluate(small, run.task)[1]:.2f}")

# %% [markdown]
# That is the whole algorithm, in one loop. It is the engine's own: the last state agrees to the last bit.

# %%
*_, engine = prune_live(run, "estimate", 0.5, steps=steps)
assert all(np.array_equal(a, b) for a, b in zip(small.masks, engine.network.masks, strict=True))
assert loop.evaluate(small, run.task)[1] == engine.accuracy
at_once = prune_scene(run, "estimate", 0.5).accuracy_masked
print(f"half of the units gone: {at_once:.2f} if cut at once, {engine.accuracy:.2f} step by step")
assert engine.accuracy > 0.88
assert at_once < 0.6

# %% [markdown]
# Cut at once, the network keeps an accuracy of 0.48. Step by step it ends at 0.92, *higher* than the 0.87
# with which lesson 12 began, for it was trained longer.
#
# Who deserves the praise, the criterion or the training? Ask chance. Here are means over five networks,
# pruned step by step.

# %%
from lora_np.training.experiments.records import shipped_records, summary

rows = summary(shipped_records("prune while adapting"), by=["criterion", "ratio"])
mean = {(row["criterion"], row["ratio"]): row["mean"] for row in rows}
for criterion in ("gradient-dot", "estimate", "magnitude", "random"):
    print(f"{criterion:13} half gone {mean[criterion, 0.5]:.2f}, nine of ten gone {mean[criterion, 0.9]:.2f}")
assert mean["random", 0.5] > 0.9
assert mean["estimate", 0.9] > mean["magnitude", 0.9] > mean["random", 0.9]
print(f"accuracy of the network of lesson 12: {loop.evaluate(net, run.task)[1]:.2f}")

# %% [markdown]
# With half of the units gone, units drawn **by lot** do nearly as well as any: 0.93 against 0.94. Training
# repairs the damage. Only when nine of ten go, the choice tells: 0.84 for the estimate, 0.80 for magnitude,
# 0.76 by lot. When somebody praises a criterion, ask what chance would have done.

# %% tags=["picture"]
from lora_np.figures import prune as pictures
from lora_np.teach import picture
from lora_np.training.experiments.records import shipped_records, summary

at_once_runs = [row for row in shipped_records("prune at once") if row["adapted_for"] == 100]
curves = summary(at_once_runs, by=["criterion", "ratio"])
picture(pictures.accuracy_curves(curves, ratio=0.5, chosen="estimate"))

# %% [markdown]
# The picture shows the hard case, all cut at once. There the criteria part early.
#
# ## Masked is not smaller
#
# So far nothing was removed. A mask multiplies by zero, and multiplying by zero takes as long as by
# anything else. To gain, take the row of the unit away where it is made, and its column where it is read:
#
# [prune-shrink]
#
# By hand: W₁ = [[1], [2], [3]], no bias, W₂ = [[1, 1, 1]], ReLU between, input 1. The units are 1, 2 and 3,
# and the output is their sum 6. Now without the second unit. Mask it: the output is 1 + 0 + 3, so 4. Or
# keep W₁ = [[1], [3]] and W₂ = [[1, 1]]: the output is 4 again, from a smaller network.

# %%
from lora_np.figures.prune_scene import forward_flops
from lora_np.nn.network import forward, merged

smaller = physically_shrunk(small)
gap = np.abs(forward(run.task.X_test, small).logits - forward(run.task.X_test, smaller).logits).max()
print(f"widths {small.widths} and {smaller.widths}")
print(f"FLOPs of one digit {forward_flops(small):,} and {forward_flops(smaller):,}")
assert gap < 1e-12
assert forward_flops(small) > 2 * forward_flops(smaller)

# %% [markdown]
# Same outputs, up to rounding. Half of the units gone, and *fewer* than half of the FLOPs left: 11,728 of
# 29,008. A matrix between two hidden layers loses rows *and* columns.
#
# A last worry: can a pruned LoRA still be merged? Yes. One mask serves W₀ and B A alike, so W₀ + s B A
# shrinks as one.

# %%
after = forward(run.task.X_test, merged(smaller)).logits
assert np.allclose(after, forward(run.task.X_test, small).logits, atol=1e-10)
print("shrunk, then merged: same outputs")

# %% [markdown]
# ### Exercise 13.5 ★★ · Take it away
#
# Hidden units are made by W1 (h, k) and b1 (h,), and read by W2 (c, h). Given the mask kept (h,), write
# `take_away(W1, b1, W2, kept)`. Return the three smaller arrays W1, b1, W2, in this order.
#
# Example: W1 = [[1], [2], [3]], b1 = [0, 0, 0], W2 = [[1, 1, 1]], kept = [True, False, True] gives [[1],
# [3]], [0, 0] and [[1, 1]].


# %% tags=["exercise"]
def take_away(W1, b1, W2, kept):
    """Return W1, b1, W2 without the units that are not kept."""
    # BEGIN SOLUTION
    return W1[kept], b1[kept], W2[:, kept]
    # END SOLUTION


# %% tags=["check"]
check("13.5", take_away)

# %% [markdown]
# ### Exercise 13.6 ★★★ · The other way round: write the test
#
# Somebody hands you a function `estimate(B, A, gB, gA)`, as in exercise 13.1. Is it right? Write
# `test_estimate(estimate)`. Call the function with arrays of your choice. Return True if it is right and
# False if it is wrong. (Or use `assert`, and let it raise.)
#
# Your test must accept every right version, also one that adds in another order and rounds differently. It
# must reject each of these mutants:
#
# - the third term is added, or left out, or taken twice;
# - the term B gA is left out; or the term gB A is;
# - right only if r = 1; right only if d = k;
# - the result is rounded to three decimals;
# - the result is right, but the array gB that you passed has been changed on the way.
#
# A hint from this lesson: you know a second road to Ĝ, the step itself.


# %% tags=["exercise"]
def test_estimate(estimate):
    """Return whether an implementation of the estimate is right."""
    # BEGIN SOLUTION
    rng = np.random.default_rng(0)
    d, k, r = 4, 5, 3
    B, A, gB, gA = (rng.normal(size=shape) for shape in ((d, r), (r, k), (d, r), (r, k)))
    given = [x.copy() for x in (B, A, gB, gA)]
    answer = estimate(B, A, gB, gA)
    unchanged = all(np.array_equal(x, y) for x, y in zip(given, (B, A, gB, gA), strict=True))
    B, A, gB, gA = given
    step = B @ A - (B - gB) @ (A - gA)
    return unchanged and answer.shape == (d, k) and np.allclose(answer, step)
    # END SOLUTION


# %% tags=["check"]
check("13.6", test_estimate)

# %% [markdown]
# ## Exit quiz
#
# **1.** At the start of training B = 0. What does the estimate see of G?
#
# - a) nothing: gA is 0, so it vanishes
# - b) all of it
# - c) its rows, as far as they lie in the rows of A
# - d) only the diagonal
#
# **2.** Somebody doubles the loss. What happens to Ĝ?
#
# - a) it does not double: its third term grows four times
# - b) it doubles, as any gradient
# - c) nothing: a loss has no unit
# - d) it changes sign
#
# **3.** A mask sets half of the hidden units to zero. The network is now
#
# - a) twice as fast
# - b) as slow as before
# - c) four times as fast
# - d) no longer mergeable
#
# **4.** Step by step, with half of the units gone, a new criterion reaches an accuracy of 93 %. What do you
# ask first?
#
# - a) how large the learning rate was
# - b) whether it uses the exact gradient
# - c) nothing: it is proven
# - d) what units drawn by lot reach under the same training


# %% tags=["exercise"]
def quiz():
    """Return your four letters."""
    # BEGIN SOLUTION
    return "c", "a", "b", "d"
    # END SOLUTION


# %% tags=["check"]
check("13.quiz", quiz)

# %% [markdown] tags=["solution"]
# **1.** c: with B = 0 the estimate is s G AᵀA. **2.** a: 5 became 7. **3.** b: zeros are multiplied like
# other numbers; only smaller arrays are faster. **4.** d: here chance reached 0.93 as well.

# %% [markdown]
# ## Where next
#
# You have counted FLOPs. [Lesson 14](lesson:14) asks what a FLOP costs: why the same sum takes a second or
# a millisecond.
#
# In the app: [nine of ten units gone](app:prune?criterion=estimate&ratio=0.9), and the same network [after
# longer training](app:prune?criterion=gradient-dot&ratio=0.3&adapted=1000), where the slope has gone.
