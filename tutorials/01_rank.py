# %% [markdown]
# # 01 · Rank: what a matrix knows
#
# **Time:** 45 minutes · **Before:** nothing but multiplying two matrices, and a little NumPy
#
# **Goals:** find the rank of a small matrix by hand; say which rank a sum and a product can have; count the
# rank of a matrix of measured numbers, where nothing is ever exactly zero.
#
# **The mistake this cures:** "Low rank means that most of the entries are zero."

# %%
from fractions import Fraction

import numpy as np

from lora_np.rank import matrix_rank, svd
from lora_np.teach import check, hint, picture

# %% [markdown]
# ## 1 · Nine numbers made of six
#
# A market sells apples, pears and plums at 1, 2 and 3 coins a kilo. Ann buys 1 kilo of each, Ben 2 kilos of
# each, Cleo 3 kilos of each. Who pays how much for what? One row for each person, one column for each fruit.
# Every entry is kilos times coins: Ben's plums cost 2 · 3 = 6. The rows of the table are [1 2 3], [2 4 6] and
# [3 6 9].
#
# [rank-example-1]
#
# (The formulas of this lesson call any matrix A or B. From lesson 03 on, these two letters have another job.)

# %%
kilos = np.array([1, 2, 3])  # one for each person
coins = np.array([1, 2, 3])  # one for each fruit
bills = np.array([[k * c for c in coins] for k in kilos])
print(bills)

assert (bills == np.outer(kilos, coins)).all()  # NumPy's name for this table

# %% [markdown]
# Now the table gets lost. How much of it must somebody tell you, so that you can write it down again?
#
# One row says nearly all: [1 2 3]. You only have to know, too, how many times each person takes it: Ann once,
# Ben twice, Cleo three times. That is one row of three numbers and one column of three numbers, six in all.
# The table shows nine numbers, but there is only one pattern in it. Such a matrix has **rank 1**.
#
# A column times a row is called an *outer product*. If u holds m numbers and v holds n numbers, the table has
# shape (m, n), and its entry in row i and column j is u[i] · v[j].

# %% [markdown]
# ### Exercise 01.1 ★ · A table from a column and a row
#
# Write `table(u, v)`. It gets `u` of shape (m,) and `v` of shape (n,), and returns the matrix of shape (m, n)
# whose entry in row i and column j is u[i] · v[j].
#
# Example: `table(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0]))` is `[[10, 20], [20, 40], [30, 60]]`.


# %% tags=["exercise"]
def table(u, v):
    """Return the matrix of shape (m, n) with entries u[i] * v[j]."""
    # BEGIN SOLUTION
    return u[:, None] * v[None, :]
    # END SOLUTION


# %% tags=["check"]
check("01.1", table)

# %% [markdown]
# Stuck? `hint` helps in three steps: 1 says again what is asked, 2 says where to look, 3 shows the equation.
# And no later cell needs your answer: you may leave an exercise and come back to it.

# %%
hint("01.1", 1)

# %% [markdown]
# ## 2 · Rank counts the rows that you have to be told
#
# Here is a second table, with the rows [1 1 1], [1 2 3] and [2 4 6].
#
# [rank-example-2]
#
# Its third row is twice the second. So nobody has to tell you the third. And the first row, [1 1 1]? It is no
# multiple of [1 2 3]. You have to be told two rows, and the third follows.
#
# That was easy to see. A method that always works is to subtract rows from each other until nothing more can
# go. Each step takes a multiple of one row away from another row. Nothing is lost by it: you could add it
# back.
#
# - third row minus twice the second: [2 4 6] − 2 · [1 2 3] = [0 0 0]
# - second row minus the first: [1 2 3] − [1 1 1] = [0 1 2]
#
# What is left is [1 1 1] and [0 1 2]. The second starts with a zero and the first does not, so neither is a
# multiple of the other. Two rows are left: the rank is 2. The method is called *elimination*.

# %%
second = np.array([[1, 1, 1], [1, 2, 3], [2, 4, 6]])
left = second.copy()
left[2] = left[2] - 2 * left[1]
left[1] = left[1] - left[0]
print(left)

assert matrix_rank(bills) == 1
assert matrix_rank(second) == 2

# %% [markdown]
# One word helps from here on. A **mixture** of some rows is what you get by multiplying each of them by a
# number and adding up. The **rank** of a matrix is the smallest number of rows from which all its rows can be
# mixed.
#
# Beware: it is not enough to look at the rows two by two. In the next matrix no row is a multiple of another.
# Still the third is the sum of the first two, and the rank is 2, not 3.

# %%
sly = np.array([[1, 0, 2], [0, 1, 3], [1, 1, 5]])
print(sly[0] + sly[1], "is the third row;", "rank", matrix_rank(sly))

assert matrix_rank(sly) == 2

# %% [markdown]
# ### Exercise 01.2 ★★★ · Rank by elimination
#
# Write `count_rank(M)`. It gets a matrix of whole numbers, an array of shape (m, n), and returns its rank as
# an `int`. Do it by elimination, and without rounding: `Fraction(int(x))` is an exact number that can be
# divided.
#
# Go through the columns from the left. In each, look for a row that was not used yet and that has no zero
# there. If there is none, go on to the next column. If there is one, it counts: move it up below the rows
# that were used before, and take multiples of it away from the rows below it, so that they get a zero in this
# column. Do not change `M` itself.
#
# Examples: the rank of `[[1, 2], [2, 4]]` is 1, and that of `[[0, 1], [1, 0]]` is 2.


# %% tags=["exercise"]
def count_rank(M):
    """Return the rank of a matrix of whole numbers."""
    # BEGIN SOLUTION
    rows = [[Fraction(int(x)) for x in row] for row in M]
    used = 0
    for j in range(M.shape[1]):
        found = next((i for i in range(used, len(rows)) if rows[i][j] != 0), None)
        if found is None:
            continue
        rows[used], rows[found] = rows[found], rows[used]
        for i in range(used + 1, len(rows)):
            times = rows[i][j] / rows[used][j]
            rows[i] = [x - times * y for x, y in zip(rows[i], rows[used], strict=True)]
        used += 1
    return used
    # END SOLUTION


# %% tags=["check"]
check("01.2", count_rank)

# %% [markdown]
# ## 3 · Rows or columns: the same number
#
# We counted rows. Count columns of the second table: is one of [1 1 2], [1 2 4] and [1 3 6] a mixture of the
# others? Yes: 2 · [1 2 4] − [1 1 2] = [1 3 6]. Two columns are enough. Is it luck that this is two again?
#
# No, and the reason is worth more than the fact. Take the r rows that you have to be told, and write them
# under each other: a matrix C of shape (r, n). Every row of M is a mixture of them. Write down the numbers of
# the mixtures, one row for each row of M: a matrix B of shape (m, r). Then M = B C.
#
# [rank-factorization]
#
# Now read the same product by columns. Column j of M is a mixture of the r columns of B. So r columns are
# enough, too. The rank counts rows and columns at once.

# %%
C = second[:2]  # the two rows that you have to be told
B = np.array([[1, 0], [0, 1], [0, 2]])  # first row: once C's first; third row: twice C's second
print(B @ C)

assert (second == B @ C).all()
assert matrix_rank(second) == matrix_rank(second.T) == 2

# %% [markdown]
# A matrix of shape (m, n) has m rows and n columns. So its rank can be at most the smaller of the two
# numbers.
#
# [rank-bound]
#
# If it is as large as that, the matrix has *full rank*. If it is far below, we speak of *low rank*.
#
# [rank-full]
#
# [rank-low]

# %% [markdown]
# ## 4 · Rank is not about zeros
#
# Guess before you run the next cell. Both matrices have shape (6, 6). The first is almost empty: ones on the
# diagonal, zeros everywhere else. The second has no zero at all. Which one has the lower rank?

# %%
almost_empty = np.eye(6, dtype=int)
no_zero = np.outer([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6])
for name, M in (("almost empty", almost_empty), ("no zero", no_zero)):
    print(f"{name}: {(M == 0).sum()} zeros of {M.size}, rank {matrix_rank(M)}")

assert matrix_rank(almost_empty) == 6
assert matrix_rank(no_zero) == 1

# %% [markdown]
# The almost empty matrix has full rank. None of its rows can be mixed from the others. The full one has
# rank 1.
#
# A matrix with many zeros is called *sparse*. Sparse and low-rank are two different ways to be simple, and
# neither brings the other. When you hear "LoRA makes a low-rank change", do not think of a few changed
# entries. It changes all of them, in a few patterns.
#
# See it: [the identity, cut to rank 4](app:rank?kind=identity&r=4), and [a product of rank 4 without a single
# zero](app:rank?kind=exact&r=4).

# %% [markdown]
# ## 5 · Which rank can a sum and a product have?
#
# **A sum.** P and Q have the same shape; P has rank p and Q has rank q. Each row of P + Q is a mixture of the
# p rows behind P and the q rows behind Q. So the rank is at most p + q. It can be less: P + (−P) is zero, and
# zero has rank 0. But it cannot be just anything. P is the sum P + Q with Q taken away again, so p is at most
# the rank of the sum plus q. The rank of the sum is at least p − q. Likewise it is at least q − p.
#
# **A product.** Each row of P Q is a mixture of the rows of Q. Each column of P Q is a mixture of the columns
# of P. So a product never has a higher rank than either factor.
#
# [rank-product]

# %%
rng = np.random.default_rng(0)
tall, wide = rng.integers(-9, 10, (100, 3)), rng.integers(-9, 10, (3, 50))
product = tall @ wide  # (100, 50): 5000 numbers
print("shape", product.shape, "rank", matrix_rank(product))

one, other = np.outer([1, 2, 3], [1, 2, 3]), np.outer([1, 1, 1], [1, 0, 0])
print(
    "two of rank 1 added: rank",
    matrix_rank(one + other),
    "· one taken from itself: rank",
    matrix_rank(one - one),
)

assert matrix_rank(product) == 3
assert matrix_rank(one + other) == 2
assert matrix_rank(one - one) == 0

# %% [markdown]
# The product of two strips, 3 wide, has rank 3: we fixed its rank by its shape, before we chose a single
# number. That is the trick of LoRA. Whatever training puts into two strips that are r wide, their product has
# rank r at most.

# %% [markdown]
# ### Exercise 01.3 ★★ · Limits
#
# Write `limits(m, n, p, q)`. P and Q are matrices of shape (m, n), P of rank p and Q of rank q. (Qᵀ is Q with
# rows and columns exchanged, so its shape is (n, m).) Return three numbers:
#
# 1. the highest rank that P + Q can have,
# 2. the lowest rank that P + Q can have,
# 3. the highest rank that the product P Qᵀ can have. Its shape is (m, m).
#
# Example: `limits(4, 5, 2, 1)` is `(3, 1, 1)`.


# %% tags=["exercise"]
def limits(m, n, p, q):
    """Return the highest and the lowest rank of P + Q, and the highest rank of P Qᵀ."""
    # BEGIN SOLUTION
    return min(p + q, m, n), abs(p - q), min(p, q)
    # END SOLUTION


# %% tags=["check"]
check("01.3", limits)

# %% [markdown]
# ## 6 · Numbers that are not exact
#
# Whole numbers are exact. Numbers with a point are not. The rows [0.1 0.2] and [0.3 0.6] look like one row
# and three times that row. But a computer holds 0.1 only nearly, and elimination does not end at zero.

# %%
almost = np.array([[0.1, 0.2], [0.3, 0.6]])
print("what is left:", almost[1] - 3 * almost[0])

assert (almost[1] - 3 * almost[0] != 0).all()

# %% [markdown]
# Is the rank 2, then? Strictly, yes. But the second direction is only rounding. We need to know how *strong*
# a direction is, and not only whether it is there.
#
# Such strengths exist. They are called **singular values**, written σ₁ ≥ σ₂ ≥ … ≥ 0, and a matrix of shape
# (m, n) has q = min(m, n) of them. How to find them is the subject of lesson 02. Here you only have to read
# them. The matrix with 3 and 2 on its diagonal stretches one direction 3 times and the other 2 times, and its
# singular values are 3 and 2. The rank is the number of singular values that are not zero.

# %%
print("σ of the diagonal 3, 2:", svd(np.diag([3.0, 2.0])).sigma)
sigma = svd(almost).sigma
print(f"σ of the rows 0.1 0.2 and 0.3 0.6: {sigma[0]:.4f} and {sigma[1]:.0e}")

assert (svd(np.diag([3.0, 2.0])).sigma == [3, 2]).all()
assert sigma[1] < 1e-16 < sigma[0]

# %% [markdown]
# For floats we count the singular values that rounding cannot explain. Each operation errs by about ε of the
# number at hand, where ε is the step from 1 to the next float. So the threshold must grow with the largest
# number, σ₁, and with the number of operations, which is about max(m, n). It is τ = max(m, n) · ε · σ₁.
#
# [rank-numerical]
#
# Note what stands in it: not a fixed small number such as 1e-10. If you measure in metres and not in
# kilometres, all σ grow by 1000, and the rank must not change. And ε depends on the type: float32 keeps fewer
# digits.

# %%
eps = np.finfo(np.float64).eps
tau = max(almost.shape) * eps * sigma[0]
print("float64:", eps, "· float32:", np.finfo(np.float32).eps)
print("above the threshold:", (sigma > tau).sum())

assert (sigma > tau).sum() == matrix_rank(almost) == matrix_rank(1000 * almost) == 1

# %% [markdown]
# ### Exercise 01.4 ★★ · Rank of floats
#
# Write `float_rank(M)`. It gets a matrix of floats of shape (m, n), in float64 or in float32, and returns the
# number of singular values above τ = max(m, n) · ε · σ₁, as an `int`. Take ε of M's own type.
# `np.linalg.svd(M, compute_uv=False)` gives the singular values, the largest first. `np.finfo(M.dtype).eps`
# is ε. (`np.linalg.matrix_rank` is what you are writing, so it may not be called.)
#
# Example: the rank of `np.array([[1.0, 0.0], [0.0, 1e-20]])` is 1, and that of `np.array([[1e-20]])` is 1,
# too.


# %% tags=["exercise"]
def float_rank(M):
    """Return the number of singular values that rounding alone cannot explain."""
    # BEGIN SOLUTION
    sigma = np.linalg.svd(M, compute_uv=False)
    return int((sigma > max(M.shape) * np.finfo(M.dtype).eps * sigma[0]).sum())
    # END SOLUTION


# %% tags=["check"]
check("01.4", float_rank)

# %% [markdown]
# ## 7 · What do handwritten digits know?
#
# Now real data: 1797 pictures of handwritten digits, 8 pixels wide and 8 high. We write each picture as one
# row of 64 numbers, from 0 (paper) to 1 (ink). The matrix X has shape (1797, 64), so its rank is at most 64.
# Is it 64?

# %%
from lora_np.datasets.digits import load_digits, rows

X = rows(load_digits().X)
blank = (X == 0).all(axis=0).sum()
print("shape", X.shape, "rank", matrix_rank(X), "blank pixels", blank)

assert X.shape == (1797, 64)
assert matrix_rank(X) == 61
assert blank == 3

# %% [markdown]
# The rank is 61. Three pixels at the edge are never touched by any pen, in none of the 1797 pictures. A pixel
# that is always 0 tells you nothing. Every other pixel says something that the rest of the picture does not
# quite say.
#
# So real data has nearly full rank, as all measured things have. Does the word "low rank" mean anything,
# then? It does: as a statement about strengths. Look at the picture.

# %% [markdown]
# ## 8 · The picture to keep
#
# A matrix of shape (64, 64) was made from two strips 4 wide. Then noise was added to every entry. Counted
# strictly, its rank is 64. But its singular values tell the story: four tall bars, a cliff, and sixty small
# ones that noise made. (The picture's sentence speaks of *energy*, the sum of all σ², and of the *effective
# rank*, which counts directions but gives weak ones less weight. Lesson 02 says more of energy.)

# %%
from lora_np.figures.examples import example_matrix

noisy = example_matrix("exact", 64, 64, planted=4, noise=0.3)
print("strictly:", matrix_rank(noisy), "· above 0.35:", matrix_rank(noisy, tol=0.35))

assert matrix_rank(noisy) == 64
assert matrix_rank(noisy, tol=0.35) == 4

# %% tags=["picture"]
from lora_np.figures import rank
from lora_np.figures.examples import example_matrix
from lora_np.rank import spectrum_report
from lora_np.teach import picture

report = spectrum_report(example_matrix("exact", 64, 64, planted=4, noise=0.3))
picture(
    rank.spectrum(
        report.sigma, rank=4, energy=float(report.energies[4]), effective_rank=report.effective_rank
    )
)

# %% [markdown]
# Rounding is one kind of noise, and its size is known: that is τ. For measured data you must know the size of
# the noise yourself. Here it is below 0.35, and above that stand four.
#
# But do not believe that every matrix has such a cliff. [A random matrix](app:rank?kind=random&r=4) has none:
# its bars fall off gently, and four of them are never enough. [Real
# digits](app:rank?kind=digits&rows=128&columns=64&r=10) stand between the two.

# %% [markdown]
# ## Exit quiz
#
# **1.** A matrix of shape (12, 12) has rank 2. What does that promise?
#
# - a) At most 2 entries of each row are not zero
# - b) Its entries take only 2 different values
# - c) All its rows are mixtures of 2 rows
# - d) 2 numbers are enough to store it
#
# **2.** P and Q have shape (10, 10). Both have rank 3. Which rank can P + Q have?
#
# - a) Any from 0 to 6
# - b) Exactly 6
# - c) Exactly 3
# - d) Any from 3 to 6
#
# **3.** No row of a matrix of shape (3, 5) is a multiple of another row, and no row is zero. Its rank is
#
# - a) 3
# - b) 5
# - c) 2 or 3
# - d) 1, 2 or 3
#
# **4.** You multiply every entry of a matrix of floats by one millionth. Its rank
#
# - a) falls, because many entries are now nearly zero
# - b) stays, because τ shrinks by the same factor
# - c) becomes 0, if all entries end below 1e-10
# - d) stays, unless the matrix is in float32


# %% tags=["exercise"]
def quiz():
    """Return your four letters."""
    # BEGIN SOLUTION
    return "c", "a", "c", "b"
    # END SOLUTION


# %% tags=["check"]
check("01.quiz", quiz)

# %% [markdown] tags=["solution"]
# 1. **c.** (a) describes a sparse matrix: the identity has one entry in each row and full rank. (b) Mixtures
#    can hold any values. (d) Two rows of 12 numbers, and 12 mixtures of two numbers: 48 in all.
# 2. **a.** At most 3 + 3, at least 3 − 3. With Q = −P the sum is zero.
# 3. **c.** Two rows that are no multiples of each other make rank 2 at least. The third may be a mixture of
#    both.
# 4. **b.** All σ and the threshold shrink together. A fixed threshold such as 1e-10 makes mistake (c).

# %% [markdown]
# ## Where next
#
# You can read a rank. [Lesson 02](lesson:02) takes a matrix apart into two strips, in three ways, and finds
# the strips that come closest when they are too narrow. Before you go, watch what noise does: [noise gives it
# full rank](app:rank?kind=exact&planted=4&r=4&noise=0.3).
