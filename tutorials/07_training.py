# %% [markdown]
# # 07 · Train it: rank, alpha and the learning rate
#
# **Time:** 75 minutes · **Before:** [05](lesson:05)
#
# **Goals:** You will be able to
#
# 1. take a training step by hand, for both factors at once;
# 2. adapt a network that reads digits to digits that are tilted, and choose its rank by measuring;
# 3. say what α, r and the learning rate each do, and predict what happens when you change one.
#
# **The mistake this cures:** "A bigger rank is always better, and α is just another learning rate."

# %%
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lora_np import lora, optim
from lora_np.lora import LoraParams
from lora_np.nn import losses, network
from lora_np.teach import check, hint, picture
from lora_np.training import loop, plans, tasks, watched
from lora_np.training.experiments import adapting
from lora_np.training.experiments.records import shipped_records, summary
from lora_np.training.experiments.task_adapters import shipped_task_adapters, task_of

# %% [markdown]
# ## 1. One step, with single numbers
#
# Take the smallest layer there is: one input, one output, rank 1. Then all the matrices are numbers.
#
# The input is x = 1 and the target is t = 2. The frozen weight is W₀ = 1, so the layer says 1: too little.
# Beside it stand the two factors, with scale s = 1. As always, B starts at zero and A does not:
#
#     A = 1,  B = 0,  so  y = W₀ x + s B A x = 1
#
# The loss is half the squared distance, ½ (y − t)². Its derivative by y is the distance itself:
#
#     gY = y − t = −1
#
# Lesson 05 gave the gradients of the factors. With single numbers they read
#
#     gB = s · gY · (A x) = −1        gA = s · B · gY · x = 0
#
# A has no gradient, because B is zero. Now step against the gradient, with a learning rate η (eta) of 0.5:
#
#     B becomes 0 − 0.5 · (−1) = 0.5        A stays 1        y = 1 + 0.5 = 1.5
#
# In the second step B is no longer zero, so A moves too. The distance is −0.5 now:
#
#     gB = −0.5 · 1 = −0.5          B becomes 0.5 + 0.5 · 0.5 = 0.75
#     gA = 0.5 · (−0.5) = −0.25     A becomes 1 + 0.5 · 0.25 = 1.125
#
# Look at gA once more. It was made with B = 0.5, the *old* B. Both gradients come first. Then both factors
# move.

# %%
B, A = 0.0, 1.0
for step in (1, 2):
    gY = (1 + B * A) - 2
    gB, gA = gY * A, B * gY  # both gradients, from the same B and A
    B, A = B - 0.5 * gB, A - 0.5 * gA  # and then both steps
    print(f"step {step}: gY = {gY}, gB = {gB}, gA = {gA}, so B = {B}, A = {A} and y = {1 + B * A}")
assert (B, A) == (0.75, 1.125)

# %% [markdown]
# For whole matrices and a batch of N rows, the rule is the same. X has shape (N, k) and holds one input a
# row. T has shape (N, d) and holds one target a row. The loss is half the *mean* squared distance of the
# rows:
#
# [net-squared-error]
#
# So gY = (Y − T) / N, shape (N, d). The step against the gradient is the oldest optimizer, gradient descent:
#
# [optim-sgd]

# %% [markdown]
# ### Exercise 07.1 ★★ · One step of both factors
#
# Write `train_step(X, T, W0, B, A, scale, lr)`. It takes one step of gradient descent on the loss above and
# returns the new `B, A`.
#
# - `X` (N, k), `T` (N, d), `W0` (d, k), `B` (d, r), `A` (r, k); `scale` is s and `lr` is η, two numbers.
# - The forward is Y = X W₀ᵀ + s (X Aᵀ) Bᵀ.
# - The gradients are gB = s gYᵀ (X Aᵀ) and gA = s (gY B)ᵀ X.
# - W₀ is frozen. Do not change the arrays you are given; return new ones.
#
# Example: the second step above. With X = [[1]], T = [[2]], W0 = [[1]], B = [[0.5]], A = [[1]], scale 1 and
# lr 0.5 it returns [[0.75]] and [[1.125]].


# %% tags=["exercise"]
def train_step(X, T, W0, B, A, scale, lr):
    """Return B and A after one step of gradient descent."""
    # BEGIN SOLUTION
    Z = X @ A.T  # (N, r)
    Y = X @ W0.T + scale * (Z @ B.T)  # (N, d)
    gY = (Y - T) / X.shape[0]  # (N, d)
    gB = scale * (gY.T @ Z)  # (d, r)
    gA = scale * (gY @ B).T @ X  # (r, k)
    return B - lr * gB, A - lr * gA
    # END SOLUTION


# %% tags=["check"]
check("07.1", train_step)

# %% [markdown]
# ## 2. A reader that fails
#
# The package ships small pictures of handwritten digits, 8 × 8 pixels each. It also ships a network that
# learned to read them. It has three dense layers: 64 pixels go to 96 units, to 64 units, to 10 scores.
#
# It has only ever seen upright digits. Tilt every picture by 45 degrees, and it fails. (Below, only digits
# that were *held out* are counted: no training ever touched them.)

# %%
reader = shipped_task_adapters().base
upright, tilted = task_of(None), task_of("rotated-45")
print(f"{len(upright.y)} digits to train on, {len(upright.y_test)} held out; widths {reader.widths}")
for name, task in (("upright", upright), ("tilted", tilted)):
    _, share = loop.evaluate(reader, task)
    print(f"{name} digits: {share:.1%} read rightly")
assert loop.evaluate(reader, tilted)[1] < 0.25

# %% [markdown]
# From 96.4% down to 22.6%. We could train the whole network again. Or we freeze it, and give each layer two
# thin factors:
#
# [net-lora]
#
# How many numbers is that? A layer of shape (d, k) gets B of shape (d, r) and A of shape (r, k): r (d + k)
# numbers. A product of two matrices cannot have a higher rank than its smaller side. So a layer never gets
# more than min(d, k): the last layer here has d = 10, and rank 16 would be wasted on it.
#
# By hand, for r = 4: the first layer is (96, 64) and gets 4 · (96 + 64) = 640 numbers. The second is (64, 96)
# and gets 640. The last is (10, 64) and gets 4 · 74 = 296. Together that is 1576.

# %%
rng = np.random.default_rng(0)
start = network.with_adapters(reader, rng, rank=4, alpha=8)
trained, whole, share = plans.count_trainable(start, plans.plan_for("lora", start))
print(f"{trained} numbers train beside {whole} frozen ones: {share:.0%}")
assert trained == 640 + 640 + 296 == 1576
wide = network.with_adapters(reader, rng, rank=16, alpha=32)
print("with rank 16:", sum(M.size for p in wide.adapters for M in p), "numbers")

# %% [markdown]
# ### Exercise 07.2 ★ · How many numbers train?
#
# Write `trainable(widths, rank)`. `widths` is a list of widths, inputs first, as in (64, 96, 64, 10). Every
# layer gets factors of rank min(rank, d, k). Return how many numbers all the factors hold together, as an
# int.
#
# Example: `trainable((64, 96, 64, 10), 4)` is 1576, and with rank 16 it is 5860, for the last layer stops at
# rank 10.


# %% tags=["exercise"]
def trainable(widths, rank):
    """Count the numbers in the factors of all layers."""
    # BEGIN SOLUTION
    return sum(min(rank, d, k) * (d + k) for k, d in pairwise(widths))
    # END SOLUTION


# %% tags=["check"]
check("07.2", trainable)

# %% [markdown]
# ## 3. Adam: a step whose length you choose
#
# Gradient descent moves far where the gradient is large, and hardly at all where it is small. Adam evens that
# out. It keeps two running averages for every single number: m, of the gradient g, and v, of its square g².
# Then it moves by the average gradient, divided by its usual size:
#
# [optim-adam]
#
# Here t counts the steps from 1. The usual constants are β₁ = 0.9, β₂ = 0.999 and ε = 1e-8. Both averages
# start at zero, so at first they are too small. Dividing by 1 − β₁ᵗ and 1 − β₂ᵗ repairs that.
#
# The first step, by hand, for a gradient of 3 and a learning rate of 0.01:
#
#     m = 0.9 · 0 + 0.1 · 3 = 0.3           m / (1 − 0.9)   = 3
#     v = 0.999 · 0 + 0.001 · 9 = 0.009     v / (1 − 0.999) = 9
#     step = 0.01 · 3 / √9 = 0.01
#
# Do it again with a gradient of 3000, and the step is again 0.01. So: **The first step of Adam is the
# learning rate, in the direction against the gradient, however large the gradient is.** Keep this in mind for
# section 6.

# %%
gradients = np.array([3.0, -3000.0, 0.002])
(moved,), state = optim.adam_step(
    (np.zeros(3),), (gradients,), optim.adam_init((np.zeros(3),)), lr=0.01, betas=(0.9, 0.999), eps=1e-8
)
print(f"for a gradient of 3: m = {state.first[0][0]:.1f}, v = {state.second[0][0]:.3f}, step {moved[0]:.2f}")
print("steps for 3, -3000 and 0.002:", moved.round(6))
assert np.allclose(moved, -0.01 * np.sign(gradients), rtol=1e-5)

# %% [markdown]
# ### Exercise 07.3 ★★ · Adam
#
# Write `adam(P, g, m, v, t, lr)`. `P` is an array of numbers to train and `g` its gradient. `m` and `v` are
# the averages before this step. All four have the same shape. `t` is the number of this step: 1 for the
# first. Return the new `P, m, v`.
#
# Use β₁ = 0.9, β₂ = 0.999, ε = 1e-8; ε is added after the root. Return m and v *without* the repair; it acts
# in the step alone. Do not change what you are given.
#
# Example: P = [0], g = [3], m = [0], v = [0], t = 1, lr = 0.01 gives [−0.01], [0.3], [0.009].


# %% tags=["exercise"]
def adam(P, g, m, v, t, lr):
    """Return P, m and v after step number t."""
    # BEGIN SOLUTION
    m = 0.9 * m + (1 - 0.9) * g
    v = 0.999 * v + (1 - 0.999) * g**2
    m_hat = m / (1 - 0.9**t)
    v_hat = v / (1 - 0.999**t)
    return P - lr * m_hat / (np.sqrt(v_hat) + 1e-8), m, v
    # END SOLUTION


# %% tags=["check"]
check("07.3", adam)

# %% [markdown]
# ## 4. The whole training loop
#
# Now train. Draw 64 digits, send them forward, pull the gradient back, take a step, and repeat. The loss for
# reading is the cross-entropy: how surprised the network is by the right answer.
#
# The loop below does this in ten lines. The learning rate falls in a straight line to zero, so that the last
# steps are calm. It moves only the factors: the frozen layers go in and come out as they were.


# %%
def adapt(net, task, rng, *, steps, lr):
    """Train the factors of a network, and nothing else."""
    arrays = tuple(M for p in net.adapters for M in p)  # B, A, B, A, B, A
    state = optim.adam_init(arrays)
    for step in range(steps):
        rows = rng.choice(task.X.shape[0], 64, replace=False)
        trace = network.forward(task.X[rows], net)
        signals = network.backward(losses.cross_entropy_gradient(trace.logits, task.y[rows]), trace, net)
        gradients = tuple(M for p in signals.adapters for M in p)
        arrays, state = optim.adam_step(arrays, gradients, state, lr=lr * (1 - step / steps))
        net = replace(net, adapters=tuple(map(LoraParams, arrays[::2], arrays[1::2])))
    return net


settings = loop.Settings("lora", steps=40, lr=2e-2, optimizer="adam", report_every=40)
ours = adapt(start, tilted, np.random.default_rng(1), steps=40, lr=2e-2)
(theirs,) = loop.train(loop.start(start, tilted, settings, np.random.default_rng(1)), tilted, settings)
gaps = [np.abs(ours.adapters[i].A - theirs.network.adapters[i].A).max() for i in range(3)]
print(f"ten lines against lora_np: the largest difference of an A is {max(gaps):.1e}")
print("the frozen layers are the very same:", ours.layers == reader.layers)
assert max(gaps) < 1e-9

# %% [markdown]
# ## 5. Choose the rank
#
# What rank does tilting need? One answer can be written down. A tilt is a linear map of the pixels: call it
# R, shape (64, 64). A first layer of W₀ Rᵀ turns the picture back before it looks. So the change W₀ Rᵀ − W₀
# does it, without any training. Its rank is printed below: 64, as high as it can be. And if you cut it to its
# best rank-4 part ([lesson 02](lesson:02)), a third of the reading is lost.
#
# That sounds bad for LoRA. But training need not find *this* change. Any change that reads well will do. So
# measure: adapt with rank 1, 2, 4 and 8 for 200 steps each, and read the held-out digits.

# %%
from lora_np.datasets.shift import rotation_matrix

R = rotation_matrix(8, 45)
change = reader.layers[0].W @ (R.T - np.eye(64))
U, sigma, Vt = np.linalg.svd(change, full_matrices=False)
written = {}
for r in (64, 4):
    first = reader.layers[0]._replace(W=reader.layers[0].W + (U[:, :r] * sigma[:r]) @ Vt[:r])
    _, written[r] = loop.evaluate(replace(reader, layers=(first, *reader.layers[1:])), tilted)
    print(f"turning back, kept at rank {r}: {written[r]:.1%} read rightly")
found = {}
for r in (1, 2, 4, 8):
    net = network.with_adapters(reader, np.random.default_rng(0), rank=r, alpha=2 * r)
    net = adapt(net, tilted, np.random.default_rng(1), steps=200, lr=2e-2)
    count = plans.count_trainable(net, plans.plan_for("lora", net))[0]
    loss, found[r] = loop.evaluate(net, tilted)
    print(f"rank {r}: {count:5} numbers train, held-out loss {loss:.2f}, {found[r]:.1%} read rightly")
assert np.linalg.matrix_rank(change) == 64
assert min(found.values()) > written[4] + 0.05
assert found[1] + 0.03 < found[2]
assert min(found[4], found[8]) > 0.85  # from 22.6%, in 200 steps

# %% [markdown]
# Your last digits may differ from your neighbour's, because computers add in different orders. The shape does
# not. From rank 1 to rank 2 the gain is large. After that the gains are small, and a higher rank may even
# fall behind a lower one. And every trained rank beats the rank-4 part of turning back, which read 61.3%:
# training found a simpler change, spread over the three layers.
#
# One run is one throw of the dice. The package ships longer runs, of 1000 steps each, from five seeds. Their
# means, with the standard deviation over seeds:

# %%
shipped = {row["variant"]: row for row in summary(shipped_records("adapt"), by=["variant", "trainable"])}
print(f"after {adapting.STEPS} steps, {shipped['full']['n']} seeds:")
for name, row in shipped.items():
    print(f"{name:9} {row['trainable']:6} numbers train: {row['mean']:.1%} ± {100 * row['std']:.1f}")
gain = shipped["lora r=8"]["mean"] - shipped["lora r=4"]["mean"]
print(f"from rank 4 to rank 8: {100 * gain:.1f} points")
assert gain < shipped["lora r=4"]["std"]

# %% [markdown]
# Rank 4 trains 1576 numbers and reads 97.0%. Full fine-tuning trains all 13098 and reads 96.8%. Going on to
# rank 8 doubles the numbers and brings 0.1 points, less than one seed differs from the next. So the honest
# rule is:
#
# **Take the smallest rank that is as good as the best, within what you can tell apart.**
#
# (Be strict with yourself: choose on one held-out set, and report on another. Else the best of many ranks is
# partly luck.)
#
# Why not simply the largest? Here is a task where that hurts. A teacher layer differs from ours by a change
# of rank 4. We see only 64 rows of its answers, and they are noisy:
#
# [net-teacher]
#
# Here ν = 1 is the size of the noise. Watch two losses: on the 64 rows we train on, and on rows we never saw.

# %%
teacher = tasks.teacher_student(np.random.default_rng(0), rank=4, noise=1.0)
ends = {}
for r in (2, 4, 32):
    settings = watched.WatchSettings(rank=r, alpha=2.0 * r, steps=40, lr=0.05)
    *_, ends[r] = watched.watch(watched.student(teacher), teacher, settings)
    print(f"rank {r:2}: training loss {ends[r].loss:5.2f}, held-out loss {ends[r].held_out:5.2f}")
assert ends[2].loss > ends[4].loss > ends[32].loss
assert ends[4].held_out < ends[2].held_out < ends[32].held_out

# %% [markdown]
# The training loss falls and falls with the rank: 17.81, 14.46, 8.11. The held-out loss does not: it goes
# 4.16, 3.52 and up to 18.25. Rank 2 is too small for the teacher's change. Rank 32 has room left over, and
# fills it with the noise of our 64 rows. So:
#
# **A larger rank is not always better, and the training loss can never tell you.**
#
# See it move: [two ranks too few](app:train?train_rank=2), and [full rank on noisy
# rows](app:train?train_rank=32&train_noise=1.0).

# %% tags=["picture"]
from lora_np.figures import train
from lora_np.figures.train_scene import Choice, Played, play
from lora_np.teach import picture
from lora_np.training.watched import WatchSettings

runs = []
for r in (32, 4):
    choice = Choice(noise=1.0, settings=WatchSettings(rank=r, alpha=2.0 * r, steps=40, lr=0.05))
    runs.append(Played(choice, tuple(play(choice))))
picture(train.loss_curves(runs))

# %% [markdown]
# ### Exercise 07.4 ★★ · The smallest rank that is good enough
#
# Write `choose_rank(ranks, losses, slack)`. `ranks` is a list of ints, in any order. `losses` is a list of
# the held-out losses, in the same order. `slack` is a share, such as 0.05. Return the smallest rank whose
# loss is at most (1 + slack) times the lowest loss of all.
#
# Example: ranks [1, 2, 4, 8], losses [50, 26, 21, 20] and slack 0.05. The lowest loss is 20, so up to 21 is
# good enough. Rank 4 is, rank 2 is not: return 4.


# %% tags=["exercise"]
def choose_rank(ranks, losses, slack):
    """Return the smallest rank that is good enough."""
    # BEGIN SOLUTION
    enough = (1 + slack) * min(losses)
    return min(rank for rank, loss in zip(ranks, losses, strict=True) if loss <= enough)
    # END SOLUTION


# %% tags=["check"]
check("07.4", choose_rank)

# %% [markdown]
# ## 6. What α does, and what it does not
#
# The increment s B A carries a scale, and α sets it:
#
# [lora-scale]
#
# Why divide by r? Look at the first step. Take one row x of shape (k,), and its bottleneck z = A x of shape
# (r,). B is zero, and Adam moves each entry of B by the learning rate η. The sign of entry (i, q) is against
# that of its gradient s · gY_i · z_q. So after one step
#
#     ΔY_i  =  s · Σ_q B_iq z_q  =  −η · s · sign(gY_i) · Σ_q |z_q|
#
# The sum has r terms. With s = α / r it becomes a mean: ΔY_i is −η · α · sign(gY_i) · mean|z_q|. **Divided by
# r, the first step of the output has the same length at every rank.** You can change r and keep α and η.
#
# By hand: z = (2, −1), so r = 2. With α = 4 the scale is s = 2. With η = 0.1 the size of ΔY_i is
#
#     η · s · Σ|z| = 0.1 · 2 · 3 = 0.6        or        η · α · mean|z| = 0.1 · 4 · 1.5 = 0.6

# %%
z, gY = np.array([[2.0, -1.0]]), np.array([[5.0]])
p = LoraParams(B=np.zeros((1, 2)), A=np.eye(2))
_, g = lora.backward(gY, z, z, np.zeros((1, 2)), p, scale=2.0)  # with A = I, the input is z
(B1, _), _ = optim.adam_step(p, g, optim.adam_init(p), lr=0.1)
print(f"B after one step: {B1.round(6)}, so ΔY = {(2.0 * z @ B1.T).item():.6f}")

x, alpha = np.random.default_rng(0).normal(size=64), 16
for r in (1, 4, 16):
    sizes = [np.abs(lora.init(np.random.default_rng(seed), 32, 64, r).A @ x).sum() for seed in range(50)]
    with_r, without = alpha / r * np.mean(sizes), alpha * np.mean(sizes)
    print(f"rank {r:2}: |ΔY| / η is {with_r:.1f} with α / r, and {without:.1f} with α alone")
assert np.isclose((2.0 * z @ B1.T).item(), -0.6)

# %% [markdown]
# With α / r the three numbers nearly agree: 7.0, 7.0 and 6.7. Without the division the third is 107.0.
#
# One warning. Many recipes set α = 2 r, as we did in section 5. Then s stays 2 at every rank, and a higher
# rank takes longer first steps as well: two changes at once. "r = 16, α = 32" is a habit, not a law.
#
# And the first step is not the whole story. The authors of rsLoRA found that later on, dividing by r makes
# high ranks learn too little. They divide by the root of r:
#
# [lora-scale-rs]
#
# ### Is α a learning rate, then?
#
# For the first step, yes: α and η stand side by side in ΔY. So try it. Take the teacher again, without noise.
# Once multiply α by 4, once multiply η by 4.

# %%
teacher = tasks.teacher_student(np.random.default_rng(0), rank=4)
seen = {}
for name, alpha, lr in (("as before", 8.0, 0.01), ("4 times α", 32.0, 0.01), ("4 times η", 8.0, 0.04)):
    settings = watched.WatchSettings(rank=4, alpha=alpha, lr=lr, steps=50)
    points = list(watched.watch(watched.student(teacher), teacher, settings))
    seen[name] = [points[step].held_out for step in (0, 1, 5, -1)]
    print(f"{name}: loss " + ", ".join(f"{loss:.4f}" for loss in seen[name]), "after 0, 1, 5, 50 steps")
alpha_4, lr_4 = seen["4 times α"], seen["4 times η"]
assert abs(alpha_4[1] - lr_4[1]) < 1e-6
assert alpha_4[3] > 5 * lr_4[3]

# %% [markdown]
# After one step both losses are 8.5454. After 50 steps they have nothing in common: 0.3906 and 0.0370.
#
# The reason is A. In the first step A does not move, because B is zero. From the second step on it does. Adam
# moves A by about η, whatever α is. A larger η moves both factors further. A larger α moves neither further;
# it only multiplies what they make. **α scales what the factors do. η says how fast they change.**
#
# With plain gradient descent it is different again. The gradient of B carries one s. The increment s B A
# carries a second one. So 4 times α makes the first step of the increment 16 times as long:

# %%
rng = np.random.default_rng(0)
X, gY, W0 = rng.normal(size=(6, 5)), rng.normal(size=(6, 3)), rng.normal(size=(3, 5))
p = lora.init(rng, 3, 5, 2)
sizes = []
for s in (0.5, 2.0):
    _, g = lora.backward(gY, X, X @ p.A.T, W0, p, scale=s)
    (B1, A1), _ = optim.sgd_step(p, g, optim.sgd_init(p), lr=0.1)
    sizes.append(np.linalg.norm(s * (B1 @ A1)))
print(f"gradient descent: 4 times the scale, and the increment is {sizes[1] / sizes[0]:.6f} times as long")
assert np.isclose(sizes[1] / sizes[0], 16)

# %% [markdown]
# The learning rate itself you find by trying, in steps of ten. Too small, and the run is not there yet. Too
# large, and it is thrown out. [Watch one that overshoots](app:train?train_opt=sgd&train_lr=0.3). In between
# lies a wide valley:

# %%
for lr in (0.0001, 0.001, 0.01, 0.1, 10.0):
    settings = watched.WatchSettings(rank=4, alpha=8.0, lr=lr, steps=100)
    points = list(watched.watch(watched.student(teacher), teacher, settings))
    end = points[-1]
    words = "left all bounds" if end.step < 100 else f"held-out loss {end.held_out:.3f}"
    print(f"η = {lr:g}: after step {end.step}, {words}")
assert end.step < 100

# %% [markdown]
# ### Exercise 07.5 ★★★ · The same run, under another α
#
# Under gradient descent you *can* change α and get the very same run, if you change the rest with it. Let c
# be a positive number, and let α become c α, so that s becomes c s. Find new factors and a new learning rate
# so that s B A is what it was, now and after every later step.
#
# Write `same_run(B, A, lr, c)`. `B` is (d, r), `A` is (r, k), `lr` and `c` are numbers. Return the new `B, A,
# lr`. Divide B and A by the same number.
#
# Three questions lead there. What must B and A be divided by, so that (c s) B A stays? The gradient is gB = s
# gW Aᵀ: by which factor does it change? And which learning rate makes its step as much smaller as B became?
#
# Example: for c = 4, B = [[2]] and A = [[6]] become [[1]] and [[3]]. The learning rate you find yourself.


# %% tags=["exercise"]
def same_run(B, A, lr, c):
    """Return B, A and the learning rate that undo c times alpha under gradient descent."""
    # BEGIN SOLUTION
    # The gradient becomes c s gW (A / √c)ᵀ, which is √c as large; its step must be 1 / √c as large.
    return B / np.sqrt(c), A / np.sqrt(c), lr / c
    # END SOLUTION


# %% tags=["check"]
check("07.5", same_run)

# %% [markdown]
# The app shows this trade, and what Adam makes of it: [α and the
# rate](app:optimizer?opt_look=%CE%B1+and+the+rate).
#
# ## Exit quiz
#
# **1.** You double r and leave α as it is. What happens to the scale s of plain LoRA?
#
# - a) It doubles.
# - b) Nothing: α is the scale.
# - c) It halves.
# - d) It falls to a quarter.
#
# **2.** You raise the rank from 8 to 32. The training loss falls, the held-out loss rises. What do you do?
#
# - a) Train longer, until the held-out loss falls too.
# - b) Go back to a smaller rank.
# - c) Raise α, so that the new directions count.
# - d) Nothing: the training loss is what is minimized.
#
# **3.** A friend trains with Adam: "I doubled α. That is the same as doubling the learning rate." Is it?
#
# - a) Yes: s multiplies the gradient, so it is the same.
# - b) No: it is the same as four times the learning rate.
# - c) No: Adam divides by the size of the gradient, so α does nothing.
# - d) Only in the first step from B = 0. Then A begins to move, and they part.
#
# **4.** Turning digits back takes a change of rank 64. Rank 4 read 97.0% of them. Why is that possible?
#
# - a) Training found another, simpler change that reads as well.
# - b) The factors have more numbers than the change.
# - c) The frozen weight has rank 4.
# - d) The nonlinear layers raise the rank of B A.


# %% tags=["exercise"]
def quiz():
    """Return your letters, in order."""
    # BEGIN SOLUTION
    return "c", "b", "d", "a"
    # END SOLUTION


# %% tags=["check"]
check("07.quiz", quiz)

# %% [markdown] tags=["solution"]
# 1. c: s = α / r, so twice the rank is half the scale. What stays is the first step of the output.
# 2. b: the extra directions learned the noise of the training rows.
# 3. d: the first step of Adam moves B by η, and A not at all. Later steps move A by η, whatever α is.
# 4. a: turning back moves every pixel to its place; telling ten digits apart needs less.
#
# %% [markdown]
# ## Where next
#
# - Train the same network in the app, with your own rank: [real digits](app:train?train_task=digits).
# - Stuck on an exercise? `hint("07.1", 1)`, then 2, then 3.
# - [Lesson 08](lesson:08): put what you trained into the weight, and take it out again.
