# %% [markdown]
# # 02 · Two thin strips: elimination, QR, SVD
#
# **Time:** 75 minutes · **Before:** [lesson 01](lesson:01)
#
# **Goals:** write a matrix of rank r as a product of two strips, in three ways; cut a matrix down to rank r
# and say how much is lost before you measure it; tell a matrix that can be cut from one that cannot.
#
# **The mistake this cures:** "Any matrix is nearly of low rank, you only have to take the SVD."

# %%
from fractions import Fraction

import numpy as np

from lora_np.rank import energy_kept, rank_factorization, svd, truncate, truncation_errors
from lora_np.teach import check, hint, picture

# %% [markdown]
# ## 1 · What two strips cost
#
# The first table of lesson 01 was a column times a row.
#
# [rank-factorization-example]
#
# Nine numbers became three plus three. In general, a matrix M of shape (m, n) and rank r is a product
# M = B C. B has shape (m, r), C has shape (r, n), as in section 3 of lesson 01. We call them *strips*,
# because r is often small. Together they hold m r + r n = r (m + n) numbers. M itself holds m n.
#
# [rank-factored-size]
#
# Do strips always save? Take shape (4, 4). At rank 1 they hold 1 · (4 + 4) = 8 numbers, and M holds 16. At
# rank 2 they hold 16: nothing is saved. At rank 3 they hold 24, more than M itself. The rank at which both
# hold the same is called *break-even*: r (m + n) = m n gives r = m n / (m + n).
#
# [rank-break-even]

# %%
m, n = 100, 1000
for r in (10, 90, 91):
    print(f"rank {r}: {r * (m + n)} numbers in the strips, {m * n} in the matrix")
print(f"break-even at rank {m * n / (m + n):.1f}")

assert 10 * (m + n) == 11_000

# %% [markdown]
# ### Exercise 02.1 ★ · Do strips save?
#
# Write `strips(m, n, r)`. Return two whole numbers: how many numbers two strips of rank r hold, for a matrix
# of shape (m, n); and the highest rank at which two strips hold *fewer* numbers than the matrix, which does
# not depend on r.
#
# Example: `strips(4, 4, 3)` is `(24, 1)`, for at rank 1 the strips hold 8 numbers and at rank 2 no fewer than
# 16.


# %% tags=["exercise"]
def strips(m, n, r):
    """Return the size of two strips, and the highest rank at which strips are smaller than the matrix."""
    # BEGIN SOLUTION
    return r * (m + n), (m * n - 1) // (m + n)
    # END SOLUTION


# %% tags=["check"]
check("02.1", strips)

# %% [markdown]
# ## 2 · The first way: elimination
#
# Lesson 01 ended its elimination with two rows, [1 1 1] and [0 1 2]. Go one step further, upwards this time.
# Take the second away from the first:
#
# - [1 1 1] − [0 1 2] = [1 0 −1]
#
# Write the two rows under each other and call them C: [1 0 −1] and [0 1 2]. Look at its columns. The first
# two are [1 0] and [0 1]. The third is [−1 2], and it is a recipe: minus once the first column plus twice the
# second. Try the recipe on the matrix M itself. −1 · [1 1 2] + 2 · [1 2 4] = [1 3 6], and that *is* M's third
# column.
#
# So C says how all columns of M are mixed from the first two. Put those two into B, and M = B C.
#
# [rank-rref]
#
# S names the columns that B takes over from M. They are the columns in which elimination found its pivots. (A
# *pivot* is the entry that clears the rest of its column: here the 1 at the start of each row of C.)

# %%
M = np.array([[1, 1, 1], [1, 2, 3], [2, 4, 6]])
C = np.array([[1, 0, -1], [0, 1, 2]])
B = M[:, [0, 1]]
print(B @ C)

assert (M == B @ C).all()
theirs = rank_factorization(M, "rref")  # whole numbers come back as exact fractions
assert (theirs[0] == B).all()
assert (theirs[1] == C).all()

# %% [markdown]
# ### Exercise 02.2 ★★★ · Two strips by elimination
#
# Write `eliminate(M)`. It gets a matrix of whole numbers of shape (m, n) and rank r ≥ 1. Return B and C with
# M = B C: C of shape (r, n), the rows that are left when M is eliminated downwards *and* upwards, each
# divided by its pivot; and B of shape (m, r), the columns of M in which the pivots stand. Take the pivots as
# far to the left as you can, as in exercise 01.2.
#
# Arrays of floats are fine, and so are fractions: your rows may be lists of `Fraction`, imported above.
#
# Example: `eliminate(np.array([[2, 4], [3, 6]]))` is `[[2], [3]]` and `[[1, 2]]`.


# %% tags=["exercise"]
def eliminate(M):
    """Return B, columns of M, and C, the rows left by elimination, with M = B C."""
    # BEGIN SOLUTION
    rows, pivots = [[Fraction(int(x)) for x in row] for row in M], []
    for j in range(M.shape[1]):
        used = len(pivots)
        found = next((i for i in range(used, len(rows)) if rows[i][j] != 0), None)
        if found is None:
            continue
        rows[used], rows[found] = rows[found], rows[used]
        rows[used] = [x / rows[used][j] for x in rows[used]]
        for i in range(len(rows)):
            if i != used:
                rows[i] = [x - rows[i][j] * y for x, y in zip(rows[i], rows[used], strict=True)]
        pivots.append(j)
    return M[:, pivots], np.array(rows[: len(pivots)], dtype=float)
    # END SOLUTION


# %% tags=["check"]
check("02.2", eliminate)

# %% [markdown]
# ## 3 · The second way: QR
#
# Elimination has a weakness. It may divide by a tiny pivot, and then rounding errors explode. The second way
# only uses lengths and right angles, and nothing can explode.
#
# Take a matrix with the two columns [3 4] and [−1 7]. The first has length 5, since 3² + 4² = 25. Divide by
# it: q₁ = [0.6 0.8] has length 1. How much of the second column points along q₁? That is their dot product:
# 0.6 · (−1) + 0.8 · 7 = 5. Take that much away: [−1 7] − 5 · [0.6 0.8] = [−4 3]. What is left stands at a
# right angle to q₁. It has length 5 again, so q₂ = [−0.8 0.6].

# %%
q1 = np.array([3, 4]) / 5
rest = np.array([-1, 7]) - 5 * q1
q2 = rest / 5
print("q1", q1, "· what is left of the second column", rest, "· q2", q2)

assert np.isclose(q1 @ [-1, 7], 5)
assert np.allclose([5 * q1, 5 * q1 + 5 * q2], [[3, 4], [-1, 7]])

# %% [markdown]
# Now write down what we did. First column: 5 q₁. Second column: 5 q₁ + 5 q₂. The q are the columns of a
# matrix Q. The numbers stand in a triangle R, here with the rows [5 5] and [0 5]. The product Q R is the
# matrix we began with.
#
# [rank-qr]
#
# Two things are new in the formula M P = Q R. QᵀQ = I says that the columns of Q have length 1 and right
# angles between them; such columns are called *orthonormal*. And P is a choice of order: always take the
# column that is longest *now*. Then the diagonal of R falls, and where it reaches zero, nothing is left. The
# number of steps is the rank.


# %%
def pivoted_qr(M):
    """Return Q and R with Q R = M, its columns in the order in which they were taken, and that order."""
    left, Q, order = M.astype(float), [], []
    while len(Q) < min(M.shape) and np.linalg.norm(left, axis=0).max() > 1e-12:
        order.append(int(np.linalg.norm(left, axis=0).argmax()))
        q = left[:, order[-1]] / np.linalg.norm(left[:, order[-1]])
        Q.append(q)
        left = left - np.outer(q, q @ left)  # take away what points along q, from all columns
    Q = np.stack(Q, axis=1)
    return Q, Q.T @ M, order


Q, R, order = pivoted_qr(np.array([[3, -1], [4, 7]]))
print("order", order, "diagonal of R", R[[0, 1], order].round(3))
Q, R, order = pivoted_qr(M)
print("the table of rank 2: steps", len(order), "· diagonal of R", R[[0, 1], order].round(3))

assert np.allclose(Q @ R, M)
theirs = rank_factorization(M.astype(float), "qr")
assert np.allclose(abs(theirs[0]), abs(Q))  # lora_np may choose the other sign of a column
assert np.allclose(theirs[0] @ theirs[1], M)

# %% [markdown]
# (The longer column, [−1 7], went first this time. `lora_np` does the same by reflections instead of
# subtractions, which is more exact still.)
#
# ## 4 · The third way: SVD
#
# The first two ways give strips, but no order of importance. Which direction of a matrix matters most? The
# third way answers that.
#
# Take the matrix with the rows [2 1] and [1 2]. A rotation of the two rows replaces them by two mixtures:
# here by their sum and their difference, each divided by √2. The difference is [1 −1] and the sum is [3 3].
# These two stand at a right angle, for 1 · 3 + (−1) · 3 = 0. Divided by √2 their lengths are 1 and 3. These
# lengths are the singular values: σ₁ = 3 and σ₂ = 1.
#
# That is the whole method: turn pairs of rows until all stand at right angles. Their lengths are the singular
# values. Jacobi found the angle that does it for any two rows hᵢ and hⱼ, with t its tangent:
#
# [rank-jacobi]


# %%
def lengths_after_turning(M, sweeps=12):
    """Turn all pairs of rows until they stand at right angles; return their lengths, the largest first."""
    H = M.astype(float)
    pairs = [(i, j) for i in range(len(H)) for j in range(i + 1, len(H))]
    for i, j in pairs * sweeps:
        if abs(H[i] @ H[j]) > 1e-15 * np.linalg.norm(H[i]) * np.linalg.norm(H[j]):
            zeta = (H[j] @ H[j] - H[i] @ H[i]) / (2 * H[i] @ H[j])
            t = (1 if zeta >= 0 else -1) / (abs(zeta) + np.hypot(1, zeta))
            H[[i, j]] = np.array([[1, -t], [t, 1]]) @ H[[i, j]] / np.hypot(1, t)
    return np.sort(np.linalg.norm(H, axis=1))[::-1]


rng = np.random.default_rng(0)
some = rng.normal(size=(4, 6))
print("lengths for the rows [2 1] and [1 2]:", lengths_after_turning(np.array([[2, 1], [1, 2]])).round(12))

assert np.allclose(lengths_after_turning(some), svd(some).sigma)

# %% [markdown]
# Where are the two strips? Divide each turned row by its length σ: these are the rows of Vᵀ. The lengths
# stand on the diagonal of Σ. And turning everything back is the job of U. So M = U Σ Vᵀ: turn, stretch, turn.
# U has shape (m, q) and V has shape (n, q), both with orthonormal columns; q = min(m, n).
#
# [rank-svd]
#
# Beware of a slip that many texts make: singular values are not eigenvalues. The rows [0 2] and [0 0] make a
# matrix whose eigenvalues are both 0. Its singular values are 2 and 0.

# %%
slip = np.array([[0.0, 2.0], [0.0, 0.0]])
print("eigenvalues", np.linalg.eigvals(slip), "· singular values", svd(slip).sigma)

assert (svd(slip).sigma == [2, 0]).all()
assert (np.linalg.eigvals(slip) == 0).all()

# %% [markdown]
# ## 5 · Cutting, and what it costs
#
# A sum says the same as the formula: M is σ₁ u₁v₁ᵀ + σ₂ u₂v₂ᵀ + …, one table of rank 1 for each singular
# value, the strongest first. For the rows [2 1] and [1 2], both u₁ and v₁ are [1 1] / √2, and both u₂ and v₂
# are [1 −1] / √2. So the first table has the entry 3 · ½ = 1.5 everywhere, and the second has 0.5 and −0.5:
#
# - [2 1] is [1.5 1.5] plus [0.5 −0.5]
# - [1 2] is [1.5 1.5] plus [−0.5 0.5]
#
# To cut at rank r, keep the first r tables and drop the rest.
#
# [rank-truncation]
#
# How far is the cut matrix from M? We measure distance by the *Frobenius norm*: square all entries of the
# difference, add, take the root. Here the difference is the second table, and √(4 · 0.25) = 1. That is σ₂,
# the singular value we dropped. It is no accident: each table σ u vᵀ has norm σ, and as the tables stand at
# right angles, the squares add up.

# %%
small = np.array([[2.0, 1.0], [1.0, 2.0]])
cut = truncate(small, 1).matrix()
print(cut)
print("squares of the difference:", ((small - cut) ** 2).round(12).ravel())
print("error", np.linalg.norm(small - cut).round(12), "· second table", (small - cut).round(12).ravel())

assert np.allclose(cut, 1.5)
assert np.allclose(np.linalg.norm(small - cut), svd(small).sigma[1])

# %% [markdown]
# Now the surprise. Nobody can do better. Among *all* matrices of rank r, none is closer to M. What is left is
# the root of the sum of all dropped σ².
#
# [rank-eckart-young]
#
# Here is why, with the largest stretch as the measure. Let X be any matrix of rank r, and let s be singular
# value number r + 1 of M, the largest that a cut would drop. Take the first r + 1 directions of M, those that
# it stretches most. X has only r independent rows. So some mixture v of these directions, of length 1, is
# sent to zero by X: r equations cannot pin down r + 1 unknowns. But M stretches each of these directions at
# least s times and keeps them at right angles, so it stretches v at least s times, too (Pythagoras). Then
# M − X stretches v at least s times. No X escapes. (For the Frobenius norm the proof takes half a page more.)
#
# Try to escape all the same. Draw a strip C at random, 200 times; find the best partner B for it by least
# squares.

# %%
bound = truncation_errors(svd(some).sigma)[2]
tries = []
for _ in range(200):
    C = rng.normal(size=(2, 6))
    B = some @ np.linalg.pinv(C)  # the best B for this C
    tries.append(np.linalg.norm(some - B @ C))
reached = np.linalg.norm(some - truncate(some, 2).matrix())
print(f"best of 200 tries {min(tries):.3f}, the SVD {reached:.3f}, the bound {bound:.3f}")

assert min(tries) > bound
assert np.isclose(reached, bound)

# %% [markdown]
# ### Exercise 02.3 ★★ · The nearest matrix of rank r
#
# Write `nearest(M, r)`. It gets M of shape (m, n) and a rank r from 1 to min(m, n). Return the matrix of
# shape (m, n) and rank r that is closest to M.
#
# `np.linalg.svd(M, full_matrices=False)` returns U (m, q), the singular values as an array of shape (q,), and
# V *already transposed*, (q, n).
#
# Example: `nearest(np.array([[2.0, 1.0], [1.0, 2.0]]), 1)` is `[[1.5, 1.5], [1.5, 1.5]]`.


# %% tags=["exercise"]
def nearest(M, r):
    """Return the closest matrix of rank r."""
    # BEGIN SOLUTION
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    return (U[:, :r] * sigma[:r]) @ Vt[:r]
    # END SOLUTION


# %% tags=["check"]
check("02.3", nearest)

# %% [markdown]
# ## 6 · How much is kept
#
# The squares of the singular values add up to the square of the norm, ‖M‖². We call the squares *energy*.
# What a cut keeps is the share of the first r squares in all of them.
#
# [rank-energy]
#
# By hand, for σ = 3 and 1: 9 of 9 + 1, so rank 1 keeps 90 % of the energy. Mind the squares. Without them you
# would say 3 of 4.

# %%
print(f"rank 1 keeps {energy_kept(svd(small).sigma)[1]:.0%} of the energy")

assert np.isclose(energy_kept(svd(small).sigma)[1], 0.9)

# %% [markdown]
# ### Exercise 02.4 ★★ · The rank that is enough
#
# Write `enough(sigma, share)`. It gets the singular values of a matrix that is not zero, falling, as an array
# of shape (q,), and a share from 0 to 1. Return the smallest rank r, an `int`, whose cut keeps *at least*
# that share of the energy.
#
# Example: `enough(np.array([3.0, 1.0]), 0.9)` is 1, and with a share of 1 it is 2. With a share of 0 it is 0:
# rank 0 keeps nothing, and that is enough.


# %% tags=["exercise"]
def enough(sigma, share):
    """Return the smallest rank that keeps at least a share of the energy."""
    # BEGIN SOLUTION
    energy = sigma**2
    r = 0
    while energy[:r].sum() < share * energy.sum():
        r += 1
    return r
    # END SOLUTION


# %% tags=["check"]
check("02.4", enough)

# %% [markdown]
# ## 7 · The strips are not unique
#
# The SVD gives strips, too: share each singular value between both sides, B = U √Σ and C = √Σ Vᵀ. But
# elimination and QR gave other strips for the same matrix. There are always others: for any matrix G of shape
# (r, r) that can be inverted, (B G) and (G⁻¹ C) have the same product.
#
# So never compare strips. Compare products. Two LoRA runs can end with strips that look nothing alike and
# have learned the same change.

# %%
whole = M.astype(float)
for method in ("rref", "qr", "svd"):
    B, C = rank_factorization(whole, method)
    print(f"{method:4} first row of B {B[0].round(2)}, error {np.linalg.norm(whole - B @ C):.0e}")
    assert B.shape == (3, 2)
    assert np.allclose(B @ C, whole)

# %% [markdown]
# ### Exercise 02.5 ★★★ · Write the test
#
# This time you write a test and not a function. Somebody hands you `factor`: a function that takes a matrix
# of floats M (m, n) and promises to return strips B (m, r) and C (r, n) with M = B C, where r is the rank of
# M. Some that you get are wrong.
#
# Write `test_factors(factor)`. Call `factor` on matrices of your choice whose rank you know. Return `True` if
# it kept its promise on all of them, and `False` if not. Accept every method: elimination, QR and SVD give
# different strips, and floats are rounded.
#
# Ask yourself: what could be wrong that a square matrix does not show? A symmetric one? One of rank 1? One of
# full rank?


# %% tags=["exercise"]
def test_factors(factor):
    """Return whether a function factors matrices as it promises."""
    # BEGIN SOLUTION
    rng = np.random.default_rng(1)
    for m, n, r in ((5, 3, 2), (3, 6, 3), (4, 4, 1), (6, 7, 4)):
        M = rng.normal(size=(m, r)) @ rng.normal(size=(r, n))
        B, C = factor(M)
        if B.shape != (m, r) or C.shape != (r, n) or not np.allclose(B @ C, M):
            return False
    return True
    # END SOLUTION


# %% tags=["check"]
check("02.5", test_factors)

# %% [markdown]
# ## 8 · Can every matrix be cut?
#
# Every matrix has an SVD. So every matrix can be cut at rank 8. The question is what is left. Guess first:
# three matrices of shape (64, 64), and rank 8 is an eighth of the full rank. How much energy does rank 8 keep
# of the identity, of random numbers, of handwritten digits?

# %%
from lora_np.figures.examples import example_matrix

kept = {}
for kind in ("identity", "random", "digits"):
    kept[kind] = energy_kept(svd(example_matrix(kind, 64, 64)).sigma)[8]
    print(f"{kind}: rank 8 keeps {kept[kind]:.1%}")

assert kept["identity"] == 8 / 64
assert 0.3 < kept["random"] < 0.45
assert kept["digits"] > 0.75

# %% [markdown]
# The identity gives exactly an eighth: all directions are equally strong. Random numbers do better, but they
# lose more than half. Real pictures keep most of their energy, because pen strokes repeat. Low rank is a
# property of the data, not a gift of the SVD.
#
# See the same in the app: [the identity](app:rank?kind=identity&r=8), [random
# numbers](app:rank?kind=random&r=8), [digits](app:rank?kind=digits&r=8).
#
# One more warning. Cutting a weight of a network to low rank is *compression*. LoRA does not do that. It
# leaves the weight as it is and keeps the *change* thin. Lesson 03 is about that change.

# %% [markdown]
# ## 9 · The picture to keep
#
# The curve is Eckart and Young's bound for the handwritten digits: no matrix of that rank can lie below it.
# The marks are measured, from the product of the strips itself. They lie on the curve.

# %% tags=["picture"]
from lora_np.figures import rank
from lora_np.figures.examples import example_matrix
from lora_np.figures.rank_scene import rank_scene
from lora_np.rank import spectrum_report, svd
from lora_np.teach import picture

digits = example_matrix("digits", 64, 64)
found = svd(digits)
scene = rank_scene(digits, found, spectrum_report(found), rank=8)
picture(rank.error_curve(scene.least_errors, scene.measured, rank=8))

# %% [markdown]
# ## Exit quiz
#
# **1.** For a matrix of shape (6, 12), at which rank do two strips hold as many numbers as the matrix itself?
#
# - a) 9
# - b) 6
# - c) 3
# - d) 4
#
# **2.** The singular values of a matrix are 4, 2 and 2. You cut it at rank 1. The Frobenius norm of the error
# is
#
# - a) √8
# - b) 2
# - c) 4
# - d) 8
#
# **3.** And how much of the energy is kept?
#
# - a) a half
# - b) two thirds
# - c) a third
# - d) 4 of 8, as singular values add up
#
# **4.** Two programs factor the same matrix of rank 2. One returns B and C, the other returns a different B
# and a different C. What follows?
#
# - a) One of the two is wrong
# - b) Nothing is wrong yet: compare the products
# - c) The matrix does not have rank 2
# - d) One of them found a closer approximation
#
# **5.** How close does the best matrix of rank 8 come to a random one of shape (64, 64)?
#
# - a) Very close: most matrices are nearly of low rank
# - b) Any matrix of rank 8 does about as well
# - c) It misses more than half of the energy
# - d) It keeps exactly an eighth of the energy


# %% tags=["exercise"]
def quiz():
    """Return your five letters."""
    # BEGIN SOLUTION
    return "d", "a", "b", "b", "c"
    # END SOLUTION


# %% tags=["check"]
check("02.quiz", quiz)

# %% [markdown] tags=["solution"]
# 1. **d.** 6 · 12 = 72 numbers, and 72 / (6 + 12) = 4. (c) is half the smaller side, right only for squares.
# 2. **a.** The tail of the spectrum: √(2² + 2²). (b) is the error in the largest stretch.
# 3. **b.** 16 of 16 + 4 + 4. (a) and (d) forget the squares.
# 4. **b.** B G and G⁻¹ C make the same product.
# 5. **c.** It keeps less than two fifths. (d) is true of the identity, whose directions are equally strong.

# %% [markdown]
# ## Where next
#
# [Lesson 03](lesson:03) looks at a layer of a network, and at what fine-tuning does to its weight. Before you
# go, find the rank at which [digits](app:rank?kind=digits&rows=128&columns=64&r=16) look like digits to you.
