# %% [markdown]
# # 09 · Which matrices, which rank?
#
# **Time:** 75 minutes · **Before:** [07](lesson:07)
#
# **Goals:** You will be able to
#
# 1. spend a budget of trained numbers on several matrices, and judge where it is spent best;
# 2. measure how much two adapters share, and compare it with chance;
# 3. say which directions of a weight an increment makes stronger.
#
# **The mistake this cures:** "Always r = 16 on q and v. And LoRA strengthens what the weight does most."

# %%
import numpy as np

from lora_np import subspace
from lora_np.figures import subspace_scene, subspace_words
from lora_np.teach import check, hint, picture
from lora_np.training.experiments import matrices

# %% [markdown]
# ## 1. Choose a budget first, then a rank
#
# A transformer block has several weights. Four belong to the attention: W_q, W_k and W_v make the queries,
# keys and values; W_o mixes what comes out. Two more are the dense layers behind it. Which of them should get
# an adapter?
#
# "Rank 8 on W_q" and "rank 8 on everything" cannot be compared: the second trains many times more numbers. So
# fix the *number of trained numbers*. An adapter of rank r on a weight of shape (d, k) has
#
# [count-lora]
#
# By hand, for the small transformer of this lesson. Its four attention weights are 64 × 64, so each costs 64
# + 64 = 128 numbers for each rank. The dense layers are 192 × 64 and 64 × 192: each costs 256. With a budget
# of 1024 you can have
#
# - rank 8 on one attention weight: 8 · 128 = 1024;
# - or rank 4 on two of them, or rank 2 on all four;
# - or rank 1 on all six: 4 · 128 + 2 · 256 = 1024.
#
# All of these train equally many numbers. Now the question is fair.

# %%
shipped = matrices.read()
sizes = {name: shipped.network.layers[name].W.shape for name in "qkvo12"}
print(sizes)
print("one rank costs", {name: d + k for name, (d, k) in sizes.items()})
for names, r in (("v", 8), ("qv", 4), ("qkvo", 2), ("qkvo12", 1)):
    count = sum(r * (sizes[name][0] + sizes[name][1]) for name in names)
    print(f"rank {r} on {subspace_scene.told(names)}: {count} numbers")
    assert count == 1024

# %% [markdown]
# ### Exercise 09.1 ★ · The rank that a budget buys
#
# Write `rank_for_budget(shapes, budget)`. `shapes` is a list of pairs (d, k), one for each weight that gets
# an adapter. All get the same rank. Return the largest rank, as an int, whose adapters together have at most
# `budget` numbers. If not even rank 1 fits, return 0.
#
# Example: `rank_for_budget([(6, 4), (8, 4)], 50)` is 2. One rank costs 10 + 12 = 22 numbers, and two cost 44.
# Three would cost 66.


# %% tags=["exercise"]
def rank_for_budget(shapes, budget):
    """Return the largest rank that the budget pays for."""
    # BEGIN SOLUTION
    return budget // sum(d + k for d, k in shapes)
    # END SOLUTION


# %% tags=["check"]
check("09.1", rank_for_budget)

# %% [markdown]
# ## 2. Where is the budget spent best?
#
# The transformer learned upright digits, and is adapted to tilted ones. It sees a digit as eight tokens, one
# for each line of pixels. First try two choices yourself, for 25 steps: rank 8 on W_q, or rank 8 on W_v.

# %%
tilted = matrices.tasks(np.random.default_rng([matrices.SEEDS[0], 0]))[1]
short = {}
for name in ("q", "v"):
    *_, net = matrices.adapting(shipped.network, tilted, name, 8, seed=matrices.SEEDS[0], steps=25)
    short[name] = matrices.held_out(net, tilted)
    print(f"rank 8 on {name}: {matrices.trained(net)} numbers train, {short[name]:.1%} read rightly")
assert short["v"] > short["q"] + 0.05

# %% [markdown]
# The same number of trained numbers, and a large difference. Longer runs of all choices ship with the
# package, from three seeds. Here are the means at 1024 numbers, the best first:

# %%
before = subspace_scene.before(shipped.records)[1]
rows = subspace_scene.at_budget(shipped.records, 1024)
print(f"before adapting: {before:.1%}")
for row in rows:
    name, span = subspace_scene.told(row["set"]), f"from {row['low']:.1%} to {row['high']:.1%}"
    print(f"{name:13} rank {row['rank']}: {row['mean']:.1%}, {span}")
mean = {row["set"]: row["mean"] for row in rows}
print("LoRA paper, table 5, percent:", dict(subspace_words.PAPER))
assert min(mean["v"], mean["o"], mean["qkvo"]) > max(mean["q"], mean["k"], mean["qk"]) + 0.15

# %% [markdown]
# Three things to read off, and one not to.
#
# - W_v and W_o gain most: 90.4% with W_v alone. W_q and W_k gain least: 67.2% and 63.8%. A likely reason: a
#   query or a key only decides *where* a token looks. A value decides *what it finds there*, and tilting
#   changed what there is to find.
# - Many matrices at a small rank are as good as one at a larger rank: all four at rank 2 reach 90.3%.
# - In the LoRA paper, on GPT-3, the order is similar: q and k last, q with v and all four together first.
# - Not to read off: that W_v *beats* all four here. 90.4% and 90.3% are equal, as far as three seeds tell.
#
# So "always q and v" is a fair start and no law. Nor is "always r = 16". Look at what each doubling of the
# rank brings:

# %%
for name in ("q", "v", "qkvo12"):
    own = [row for row in subspace_scene.by_rank(shipped.records) if row["set"] == name]
    print(
        f"{subspace_scene.told(name):7}", ", ".join(f"rank {row['rank']}: {row['mean']:.1%}" for row in own)
    )
curve = {(row["set"], row["rank"]): row["mean"] for row in subspace_scene.by_rank(shipped.records)}
assert curve["v", 4] > curve["q", 16] + 0.05
assert curve["qkvo12", 16] - curve["qkvo12", 4] < 0.01

# %% [markdown]
# For all six matrices, going from rank 4 to rank 16 takes four times the numbers and brings half a point:
# 95.0% to 95.5%. For W_q every doubling still helps, and rank 16 there (77.1%) is worse than rank 4 on W_v
# (87.2%). **Where comes before how much.** Try other budgets: [twice the
# numbers](app:subspace?sub_budget=2048).

# %% tags=["picture"]
from lora_np.figures import subspace as subspace_pictures
from lora_np.figures import subspace_scene
from lora_np.teach import picture
from lora_np.training.experiments import matrices

records = matrices.read().records
rows = subspace_scene.at_budget(records, 1024)
runs = subspace_scene.of_the_grid(records)
picture(subspace_pictures.budget_dots(rows, runs, before=subspace_scene.before(records)[1]))

# %% [markdown]
# ## 3. Do two adapters use the same directions?
#
# Train with rank 8, and again with rank 16. Did both find the same thing? Comparing A with A, number by
# number, says nothing: two factors can look different and still read the same directions of the input.
# Compare *subspaces*.
#
# The rows of A, shape (r, n), span what A reads of its n inputs. Its singular value decomposition A = U Σ Vᵀ
# puts the directions in order: the first right singular vector is the direction that A reads most strongly.
# Take the first i of one factor and the first j of another, as columns of V₁ (n, i) and V₂ (n, j). Their
# overlap is
#
# [subspace-phi]
#
# (For A the U of this formula are our right singular vectors, V₁ and V₂.) Each entry of V₁ᵀ V₂ is the cosine
# of the angle between two directions. φ adds their squares and divides by the most that the sum can be.
#
# By hand, in three dimensions. The first plane is spanned by e₁ and e₂, the second by e₁ and e₃. The four
# cosines are 1, 0, 0, 0. Their squares add up to 1, and min(2, 2) = 2, so φ = 1/2: one of two directions is
# shared. Now a line along (1, 1, 0) against the first plane: the unit vector is (0.707, 0.707, 0), the
# squares are 0.5 and 0.5, and φ = 1. The line lies in the plane.

# %%
V1, V2 = np.eye(3)[:, [0, 1]], np.eye(3)[:, [0, 2]]
line = np.array([[1.0], [1.0], [0.0]]) / np.sqrt(2)
print("two planes:", ((V1.T @ V2) ** 2).sum() / 2, " a line in a plane:", ((line.T @ V1) ** 2).sum().round(3))
print("the line:", line.ravel().round(3))
both = [np.diag([3.0, 2.0, 0.0]), np.diag([3.0, 0.0, 2.0])]
assert np.isclose(subspace.similarity(*both, 2, 2, side="right"), 0.5)

# %% [markdown]
# ### Exercise 09.2 ★★ · How much is shared?
#
# Write `similarity(A1, A2, i, j)`. `A1` has shape (r₁, n) and `A2` (r₂, n). Return φ, one number, for the
# first i directions of `A1` and the first j of `A2`. You may use `np.linalg.svd`: `U, S, Vt =
# np.linalg.svd(A1)`. The right singular vectors are the *rows* of `Vt`, the strongest first.
#
# Example: A1 = [[3, 0, 0], [0, 2, 0]] and A2 = [[3, 0, 0], [0, 0, 2]] have φ = 0.5 for i = j = 2, and 1 for i
# = j = 1.


# %% tags=["exercise"]
def similarity(A1, A2, i, j):
    """Return how much of the first i directions of A1 lies in the first j of A2."""
    # BEGIN SOLUTION
    V1 = np.linalg.svd(A1)[2][:i].T  # (n, i)
    V2 = np.linalg.svd(A2)[2][:j].T  # (n, j)
    return np.sum((V1.T @ V2) ** 2) / min(i, j)
    # END SOLUTION


# %% tags=["check"]
check("09.2", similarity)

# %% [markdown]
# ## 4. What would chance give?
#
# Suppose you measure φ = 0.25 between two sets of 16 directions in 64 dimensions. Is that a lot?
#
# Draw both sets at random. Take one random direction, and n fixed ones at right angles to each other. Its
# squared cosines with all n add up to 1: that is Pythagoras. No direction is special, so on average each is
# 1/n. Now V₁ᵀ V₂ has i · j entries, so their squares add up to i j / n on average. Divide by min(i, j), and
# what is left is
#
#     chance = max(i, j) / n
#
# [subspace-random]
#
# For 16 and 16 in 64 dimensions that is 16/64 = 0.25. So the answer is: it is nothing at all. **A φ says
# something only beside its chance.**

# %%
rng = np.random.default_rng(0)
drawn = []
for _ in range(200):
    V1, V2 = subspace.random_basis(rng, 16, 3), subspace.random_basis(rng, 16, 4)
    drawn.append(np.sum((V1.T @ V2) ** 2) / 3)
print(f"3 against 4 random directions of 16: φ is {np.mean(drawn):.2f} on average, chance says {4 / 16}")
print("16 against 16 of 64:", 16 / 64)
assert abs(np.mean(drawn) - 0.25) < 0.02

# %% [markdown]
# ### Exercise 09.3 ★★ · Beyond chance
#
# Write `beyond_chance(phi, n)`. `phi` is an array of shape (p, q). Its entry in row 0 and column 0 is φ for i
# = 1 and j = 1, the next column is j = 2, and so on. `n` is the number of dimensions. Return an array of the
# same shape: φ minus its chance, for every entry.
#
# Example: phi = [[1.0, 0.5], [0.5, 0.75]] and n = 4. The chances are [[0.25, 0.5], [0.5, 0.5]]. So the answer
# has the rows [0.75, 0] and [0, 0.25].


# %% tags=["exercise"]
def beyond_chance(phi, n):
    """Return phi minus what random directions give."""
    # BEGIN SOLUTION
    i = np.arange(1, phi.shape[0] + 1)[:, None]
    j = np.arange(1, phi.shape[1] + 1)[None, :]
    return phi - np.maximum(i, j) / n
    # END SOLUTION


# %% tags=["check"]
check("09.3", beyond_chance)

# %% [markdown]
# Now the trained factors. Take the A of W_v at rank 8. Compare it with the A of rank 16, with an A of rank 8
# from another random start, and with a random one.

# %%
found = {}
for other, rank in (("another rank", 16), ("another start", 8), ("random", 8)):
    scene = subspace_scene.phi_scene(shipped, "v", "A", 8, other=other, other_rank=rank)
    found[other] = scene
    print(f"{other:13}: first directions {scene.phi[0, 0]:.2f} (chance {scene.chance[0, 0]:.2f}), "
          f"all {scene.phi[-1, -1]:.2f} (chance {scene.chance[-1, -1]:.2f})")  # fmt: skip
twice = [
    row for row in shipped.records if (row["set"], row["rank"], row["seed"]) == ("qv", 8, matrices.SEEDS[0])
]
print("both starts at rank 8 read", " and ".join(f"{row['accuracy']:.1%}" for row in twice), "rightly")
assert found["another rank"].excess[0, 0] > 0.3
assert found["another start"].excess[0, 0] < 0.1 < found["another start"].excess[-1, -1]
assert abs(found["random"].excess[-1, -1]) < 0.05

# %% [markdown]
# Read it slowly.
#
# - Rank 8 against rank 16: their strongest directions share 0.42, where chance gives 0.02. Both found some of
#   the same.
# - Another start: all eight together share 0.39, chance gives 0.12. So the runs agree on part of the
#   subspace. But their *first* directions share only 0.06. They agree on a part of the space, not on which
#   direction in it comes first.
# - Random: what chance says.
#
# So a φ above chance means: something is shared. It does not mean "the same solution". Both runs read the
# digits equally well, and more than half of their directions differ. See all i and j at once, and subtract
# chance: [the map of φ](app:subspace?sub_matrix=v&sub_chance=true).
#
# ## 5. What does an increment make stronger?
#
# Last question: what has ΔW to do with W₀? It might push along the directions in which W₀ is strongest
# already. It might push where W₀ is weak. Or where W₀ has nothing to say at all.
#
# Take the top r singular directions of ΔW: U of shape (d, r) for the outputs, V of shape (k, r) for the
# inputs. Uᵀ W₀ V, shape (r, r), is what W₀ does along them. The size of a matrix is its Frobenius norm ‖ ·
# ‖_F, the root of the sum of its squared entries. The amplification compares two sizes:
#
# [subspace-amplification]
#
# By hand. W₀ is diagonal with 4 and 0.5, ΔW is diagonal with 0 and 3. The top direction of ΔW is the second
# one, for inputs and outputs. There W₀ has 0.5. So the amplification is 3 / 0.5 = 6: ΔW takes something that
# W₀ did weakly, and adds six times as much. In the top direction of W₀ itself it would be 3 / 4.


# %%
W0, delta = np.diag([4.0, 0.5]), np.diag([0.0, 3.0])
found = subspace.amplification(W0, delta, 1)
print(
    f"size of the increment {found.delta_norm}, of W0 along it {found.projected_norm}: factor {found.factor}"
)
print("along W0's own top direction:", subspace.amplification_own(W0, delta, 1).factor)
assert np.isclose(found.factor, 6)

# %% [markdown]
# ### Exercise 09.4 ★★★ · Amplification
#
# Write `amplification(W, delta, r)`. `W` and `delta` have shape (d, k). Return ‖delta‖_F / ‖Uᵀ W V‖_F, one
# number, with U and V the top r left and right singular directions of `delta`. The upper norm is of all of
# `delta`, not of its top r directions. You may use `np.linalg.svd` and `np.linalg.norm`.
#
# Example: W = [[4, 0], [0, 0.5]], delta = [[0, 0], [0, 3]] and r = 1 give 6.


# %% tags=["exercise"]
def amplification(W, delta, r):
    """Return how much stronger delta is than W along the top r directions of delta."""
    # BEGIN SOLUTION
    U, _, Vt = np.linalg.svd(delta)
    return np.linalg.norm(delta) / np.linalg.norm(U[:, :r].T @ W @ Vt[:r].T)
    # END SOLUTION


# %% tags=["check"]
check("09.4", amplification)

# %% [markdown]
# Now measure the trained increments of W_q. For each rank: the size of ΔW; the size of W₀ along the
# directions of ΔW; and two controls, W₀ along its own top directions and along random ones.

# %%
strengths = subspace_scene.strengths(shipped, "q")
for row in strengths:
    print(f"rank {row.rank:2}: ΔW {row.delta:5.1f}; W0 along ΔW {row.inside:.2f}, along its own top {row.own:.2f}, "
          f"along random {row.random:.2f}; amplified {row.factor:.1f} times")  # fmt: skip
four = strengths[2]
print("LoRA paper, table 7, rank 4: 6.91 / 0.32, printed as 21.5")
assert four.rank == 4
assert max(row.factor for row in strengths) == strengths[0].factor
assert 2 * four.random < four.inside < 0.5 * four.own

# %% [markdown]
# At rank 4, W₀ has size 1.45 along the directions of ΔW. Along its own top directions it has 5.02. So ΔW does
# *not* strengthen what W₀ does most. But along random directions W₀ has only 0.57. So ΔW does not invent
# everything either: it takes directions that W₀ knows, but does not stress, and adds 6.7 times as much along
# them.
#
# The LoRA paper found the same on GPT-3, with a factor of 21.5 at rank 4. There, as here, the factor is
# largest for small ranks: the few directions that matter most need it most.
#
# See it for W_v: [strengths by rank](app:subspace?sub_matrix=v&sub_rank=4).
#
# ## Exit quiz
#
# **1.** Someone compares "rank 8 on W_q" with "rank 8 on all six matrices". The second wins. What follows?
#
# - a) All six matrices are the right choice.
# - b) W_q needs no adapter.
# - c) Not much: the second trained many times more numbers.
# - d) The rank was too small for W_q.
#
# **2.** Two sets of 8 directions in 64 dimensions have φ = 0.12. What does that say?
#
# - a) They share nothing: chance gives 8/64.
# - b) Each direction of one is close to one of the other.
# - c) They share one direction exactly.
# - d) They are orthogonal.
#
# **3.** Two runs have φ = 0.39 where chance is 0.12. Then
#
# - a) both found the same solution.
# - b) part of their directions is shared, and the rest differs.
# - c) both are random.
# - d) one of them has the wrong rank.
#
# **4.** In which directions did the increments of this lesson push?
#
# - a) In the strongest directions of W₀.
# - b) In random directions.
# - c) In directions where W₀ has nothing at all.
# - d) In directions that W₀ has, more than by chance, but does not stress.


# %% tags=["exercise"]
def quiz():
    """Return your letters, in order."""
    # BEGIN SOLUTION
    return "c", "a", "b", "d"
    # END SOLUTION


# %% tags=["check"]
check("09.quiz", quiz)

# %% [markdown] tags=["solution"]
# 1. c: compare at one budget. Rank 8 on all six trains eight times as many numbers as rank 8 on W_q.
# 2. a: chance is max(8, 8) / 64, and that is what was measured.
# 3. b: φ counts shared directions. It does not say that the rest agrees.
# 4. d: W₀ along ΔW was twice as strong as along random directions, and far weaker than along its own.
#
# %% [markdown]
# ## Where next
#
# - Accuracy against rank for every set of matrices: [every rank](app:subspace?sub_view=every+rank).
# - What the same choices cost in a large model: [count them](app:params?model=llama-7b&adapter_rank=8).
# - Stuck? `hint("09.2", 1)`, then 2, then 3.
# - [Lesson 10](lesson:10): LoRA seen as an optimizer.
