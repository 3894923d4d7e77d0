# %% [markdown]
# # 05 · Backward by hand, then autograd agrees
#
# **Time:** 60 minutes · **Before:** [lesson 04](lesson:04)
#
# **Goals:** after this lesson you can
#
# - work out any cell of a gradient of the LoRA layer on paper;
# - write its backward in four lines;
# - check a gradient that you do not trust, without knowing its formula.
#
# **The mistake this cures:** "W₀ is frozen, so backward need not touch it. And the rest is autograd's magic."

# %%
import autograd
import numpy as np

import lora_np
from lora_np import LoraParams
from lora_np.figures.grad_scene import small_layer
from lora_np.teach import check, hint

# %% [markdown]
# ## 1 Move one cell, watch the loss
#
# A loss L is one number that says how bad the outputs are. A **gradient** answers this for every cell of a
# matrix: if this cell grows by a little, how many times that little does L grow?
#
# So the gradient of B is a matrix of the same shape as B. We write gB for it: a small g, then the name of the
# thing. In the same way there are gA, gX and gY. A gradient always has the shape of its thing.
#
# Take the layer of lesson 04 again, with one row of input:
#
# - x = [3, 1], W₀ = [[1, 0], [0, 1], [1, 1]], A = [[2, 1]], B = [[1], [0], [-1]], s = 2.
# - The bottleneck was z = 7 and the output was y = [17, 1, -10].
#
# Say that the loss is L = 1·y₁ + 0·y₂ + 2·y₃. A real loss is more complicated, but for small moves every loss
# looks like this: a number for each output that says how much it counts. These numbers are gy = [1, 0, 2],
# the gradient of the output. Backward begins with them. It does not ask where they came from.
#
# **A cell of B.** Move B's first cell from 1 to 2. Then y₁ = 3 + 2·2·7 = 31 instead of 17. It grew by
# s·z = 14. In the loss y₁ counts once, so L grows by 14. Move B's last cell by 1: y₃ grows by 14, too. It
# counts twice, so L grows by 28. Hence gB = [[14], [0], [28]].
#
# The rule that we have used: a cell of gB is **s · (how much its output counts) · (what came through the
# bottleneck)**.
#
# **A cell of A.** This one is further from the loss. First ask how much the *bottleneck* counts. Move z by 1:
# y moves by s·B = [2, 0, -2]. So L moves by 1·2 + 0·0 + 2·(-2) = -2. We call this number gz. Now move A's
# first cell by 1: z moves by x₁ = 3, so L moves by gz·x₁ = -2·3 = -6. For the second cell it is
# gz·x₂ = -2·1 = -2. Hence gA = [[-6, -2]].
#
# **A cell of x.** Two ways lead from x to y, so there are two shares. Move x₁ by 1.
#
# - The frozen way: y moves by the first column of W₀, which is [1, 0, 1]. So L moves by 1·1 + 2·1 = 3.
# - Through the bottleneck: z moves by 2, and z counts gz = -2. So L moves by -4.
#
# Together: gx₁ = 3 - 4 = -1. See what W₀ does here. It is frozen, so *it* gets no gradient. But the gradient
# of x passes **through** it, and the layers below wait for gx.

# %%
W0 = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
A, B, s = np.array([[2.0, 1.0]]), np.array([[1.0], [0.0], [-1.0]]), 2.0
x, gy = np.array([3.0, 1.0]), np.array([1.0, 0.0, 2.0])


def loss_of_row(x, B, A):
    """Return L = 1 y1 + 0 y2 + 2 y3."""
    return gy @ (W0 @ x + s * (B @ (A @ x)))


def grows_by(place, name):
    """Move one cell of x, B or A by 1 and return by how much the loss grows."""
    parts = {"x": x, "B": B, "A": A}
    moved = parts[name].copy()
    moved[place] += 1
    return float(loss_of_row(**(parts | {name: moved})) - loss_of_row(**parts))


by_moving_B = [grows_by((i, 0), "B") for i in range(3)]
by_moving_A = [grows_by((0, j), "A") for j in range(2)]
by_moving_x = [grows_by(j, "x") for j in range(2)]
print("gB:", by_moving_B, " gA:", by_moving_A, " gx:", by_moving_x)
assert by_moving_B == [14.0, 0.0, 28.0]
assert by_moving_A == [-6.0, -2.0]
assert by_moving_x == [-1.0, 0.0]

# %% [markdown]
# The second cell of gx came out as 0. Do it by hand: both shares are there, and they cancel.
#
# ## 2 One rule for a product, and four lines
#
# Now for N rows at once: X is (N, k), Y is (N, d), gY is (N, d). Forward is
#
# [lora-2]
#
# with the bottleneck Z = X Aᵀ of shape (N, r). Forward is made of products of matrices. So we need one rule
# only:
#
# > If P = M Q, then gM = gP Qᵀ and gQ = Mᵀ gP.
#
# In words: to pull a gradient back through a product, multiply by the *other* factor, transposed. Why? A cell
# of P is a sum, P[i,j] = M[i,1]·Q[1,j] + M[i,2]·Q[2,j] + … So if M[i,l] moves by 1, then each P[i,j] moves by
# Q[l,j]. Add up over j how much that counts: gM[i,l] = gP[i,1]·Q[l,1] + gP[i,2]·Q[l,2] + … That is a cell of
# gP Qᵀ.
#
# You can rebuild the rule from the shapes, should you forget it. Let M be (a, b), Q be (b, c) and gP be (a,
# c). Then gP Qᵀ is (a, c)·(c, b) = (a, b). That is the shape of M, and no other order of the two fits. But
# mind what shapes do not tell: with a factor s forgotten, with a wrong sign, or with a mean for a sum, all
# shapes still fit.
#
# Walk back through the layer, from the output to the input. At each step ask which product made it.
#
# - The new part is s Z Bᵀ, a product of Z and Bᵀ. So **gZ = s gY B**, and the gradient of Bᵀ is s Zᵀ gY.
#   Transposed, that is **gB = s gYᵀ Z**.
# - The bottleneck is Z = X Aᵀ. So the gradient of Aᵀ is Xᵀ gZ. Transposed, that is **gA = gZᵀ X**.
# - X stands in two products: in X W₀ᵀ and in X Aᵀ. Each gives a share, and shares add: **gX = gY W₀ + gZ A**.
#
# These are the four lines. Three of them stand in this equation:
#
# [grad-2]
#
# and the fourth, with gZ put in, in this one:
#
# [lora-grad-x]
#
# We never wrote a line for gW. W₀ is frozen, and nobody asks for it. That is a real saving: gW would be as
# large as W₀. What we could **not** leave out is the product gY W₀ in the last line.
#
# Now with numbers. The layer below is small enough to check by hand. T (N, d) holds the outputs that we want,
# and the loss is half the sum of all (Y - T)². The slope of ½ u² is u, so gY = Y - T.

# %%
layer = small_layer()  # N = 2 rows, k = 2 inputs, d = 3 outputs, r = 2: all of them whole numbers
X, W0, (B, A), T, s = layer
print("X =", X.tolist(), " T =", T.tolist(), " s =", s)
print("W0 =", W0.tolist(), " B =", B.tolist(), " A =", A.tolist())

Z = X @ A.T  # (N, r)
Y = X @ W0.T + s * (Z @ B.T)  # (N, d)
gY = Y - T  # (N, d)

gZ = s * (gY @ B)  # (N, r): back through B
gB = s * (gY.T @ Z)  # (d, r)
gA = gZ.T @ X  # (r, k)
gX = gY @ W0 + gZ @ A  # (N, k): both ways
print("gB =", gB.tolist())
print("gA =", gA.tolist())
print("gX =", gX.tolist())

gX_lib, g_lib = lora_np.backward(gY, X, Z, W0, LoraParams(B, A), scale=s)
assert np.array_equal(gX, gX_lib)
assert np.array_equal(gB, g_lib.B)
assert np.array_equal(gA, g_lib.A)

# %% [markdown]
# ## 3 Cell by cell
#
# Let us take one number of this apart. Count rows and columns from one, as in a formula. The cell in row 2,
# column 1 of gB is
#
# - gB[2,1] = s·(gY[1,2]·Z[1,1] + gY[2,2]·Z[2,1]): one term for each row of the batch;
# - in numbers: 2·(2·(-3) + 1·(-3)) = 2·(-9) = -18.
#
# Each row of the batch gives its share, and the shares are **added**. Nothing here divides by N. If your loss
# is a *mean* over the rows, the 1/N is in gY already, and it must not come a second time.
#
# One step deeper: gA[1,2] = gZ[1,1]·X[1,2] + gZ[2,1]·X[2,2] = -6·1 + (-4)·2 = -14. And the cells of gZ are
# sums again: gZ[1,1] = s·(1·1 + 2·(-1) + (-1)·2) = 2·(-3) = -6.

# %%
print("Z =", Z.tolist(), " gY =", gY.tolist(), " gZ =", gZ.tolist())
assert s * (gY[0, 1] * Z[0, 0] + gY[1, 1] * Z[1, 0]) == gB[1, 0] == -18  # Python counts from zero
assert gZ[0, 0] * X[0, 1] + gZ[1, 0] * X[1, 1] == gA[0, 1] == -14
assert s * (gY[0] @ B[:, 0]) == gZ[0, 0] == -6

# %% [markdown]
# The picture shows every matrix of the layer. What goes forward stands above, what comes back stands below.
# The cells that make gB[2,1] have a border.

# %% tags=["picture"]
from lora_np.figures import grad
from lora_np.figures.grad_scene import grad_scene
from lora_np.teach import picture

picture(grad.matrices(grad_scene("gB", 2, 1, h=1e-6, loss="squares")))

# %% [markdown]
# The Gradients room does this for any cell you choose. Try [the cell
# above](app:grad?grad_of=B&grad_cell_B=2,1), [a cell of A, through the
# bottleneck](app:grad?grad_of=A&grad_cell_A=1,2), and [a cell of X, with its two
# ways](app:grad?grad_of=X&grad_cell_X=2,1). Predict each number before you look.
#
# ### Exercise 05.1 ★ · The gradient of B
#
# Write `gradient_of_B(gY, X, A, scale)`. It gets gY (N, d), X (N, k), A (r, k) and the number `scale`. It
# returns gB, of shape (d, r). Note that you are not given Z.
#
# Example: for gY = [[1, 0, 2]], X = [[3, 1]], A = [[2, 1]] and scale = 2 it returns [[14], [0], [28]].


# %% tags=["exercise"]
def gradient_of_B(gY, X, A, scale):
    """Return gB (d, r)."""
    # BEGIN SOLUTION
    return scale * gY.T @ (X @ A.T)
    # END SOLUTION


# %% tags=["check"]
check("05.1", gradient_of_B)

# %% [markdown]
# ### Exercise 05.2 ★★ · The whole backward
#
# Write `backward(gY, X, Z, W0, B, A, scale)`. It gets gY (N, d), X (N, k), the bottleneck Z (N, r) that
# forward has computed, W0 (d, k), B (d, r), A (r, k) and the number `scale`. It returns three arrays: gX (N,
# k), gB (d, r) and gA (r, k), in this order.
#
# Example: with the arrays of section 1 as rows it returns [[-1, 0]], [[14], [0], [28]] and [[-6, -2]].


# %% tags=["exercise"]
def backward(gY, X, Z, W0, B, A, scale):
    """Return gX (N, k), gB (d, r), gA (r, k)."""
    # BEGIN SOLUTION
    gZ = scale * (gY @ B)
    return gY @ W0 + gZ @ A, scale * (gY.T @ Z), gZ.T @ X
    # END SOLUTION


# %% tags=["check"]
check("05.2", backward)

# %% [markdown]
# ## 4 Autograd agrees
#
# `autograd` is a library that differentiates Python functions. You write the loss, and it gives back the
# gradient. Is that magic? It writes down every operation that the loss runs through. Then it walks back
# through the list, and for each operation it has a rule. For a product the rule is the one in section 2. It
# knows nothing about LoRA.


# %%
def loss(X, B, A):
    """Return half the sum of all (Y - T)², from the formula of forward alone."""
    Y = X @ W0.T + s * ((X @ A.T) @ B.T)
    return ((Y - T) ** 2).sum() / 2


by_autograd = [autograd.grad(loss, place)(X, B, A) for place in range(3)]
for name, theirs, ours in zip(("gX", "gB", "gA"), by_autograd, (gX, gB, gA), strict=True):
    print(f"{name} by autograd: {theirs.tolist()}")
    assert np.array_equal(theirs, ours)  # every bit

# %% [markdown]
# Equal to the last bit. (All numbers here are whole, so nothing was rounded. With other numbers expect the
# last digits to differ.) No magic: it multiplied and added what we multiplied and added.
#
# ## 5 A check that needs no formula
#
# Suppose that you have neither a derivation nor autograd. Then do what section 1 did: move one cell and look
# at the loss.
#
# To both sides is better than to one. Take the loss at p + h and at p - h, and divide the difference by the
# distance, 2h. This is the **central difference**. The name of the one-sided kind, (L(p + h) - L(p)) / h, is
# **forward difference**.
#
# How small should h be? A smaller step follows the curve better, so the error falls. But the two losses agree
# in more and more digits, and the computer keeps only about 16. What rounding has left is then divided by a
# tiny h, so the error grows again. Look at one cell of B, with a loss that is curved more strongly: a quarter
# of the sum of all (Y - T)⁴.


# %%
def curved(B):
    """Return a quarter of the sum of all (Y - T)⁴."""
    return ((X @ W0.T + s * ((X @ A.T) @ B.T) - T) ** 4).sum() / 4


exact = (s * ((Y - T) ** 3).T @ Z)[1, 0]
errors = {}
for exponent in (1, 3, 5, 7, 9, 11, 13):
    h, up, down = 10.0**-exponent, B.copy(), B.copy()
    up[1, 0], down[1, 0] = B[1, 0] + h, B[1, 0] - h
    one_sided, central = (curved(up) - curved(B)) / h, (curved(up) - curved(down)) / (2 * h)
    errors[exponent] = abs(one_sided - exact), abs(central - exact)
    print(
        f"h = 1e-{exponent:<2d}  error: forward {errors[exponent][0]:.0e}   central {errors[exponent][1]:.0e}"
    )
forward_errors, central_errors = zip(*errors.values(), strict=True)
assert min(forward_errors) not in (forward_errors[0], forward_errors[-1])  # the best step is in the middle
assert min(central_errors) not in (central_errors[0], central_errors[-1])
assert min(central_errors) < min(forward_errors)

# %% [markdown]
# Both columns fall and then rise again, and the central one gets lower. In the room you can [see both
# curves](app:grad?grad_loss=fourth+powers&grad_h=1e-5) as a V, and [choose a step that is too
# small](app:grad?grad_h=1e-14).
#
# ### Exercise 05.3 ★★ · Central differences
#
# Write `by_differences(L, P, h)`. L is a function: it takes an array of the shape of P and returns a number.
# P is an array of any shape. Return an array of the shape of P with the central difference of L in each cell,
# with the step h. Leave P as you found it.
#
# Example: for L = the sum of all squares and P = [1, 2] it returns [2, 4], whatever h is.
#
# Useful: `for place in np.ndindex(P.shape):` visits every cell of an array, whatever its shape. Then
# `P[place]` is that cell.


# %% tags=["exercise"]
def by_differences(L, P, h):
    """Return an array of the shape of P."""
    # BEGIN SOLUTION
    slopes = np.zeros(P.shape)
    for place in np.ndindex(P.shape):
        up, down = P.copy(), P.copy()
        up[place] += h
        down[place] -= h
        slopes[place] = (L(up) - L(down)) / (2 * h)
    return slopes
    # END SOLUTION


# %% tags=["check"]
check("05.3", by_differences)

# %% [markdown]
# ## 6 Now you are the examiner
#
# Someone gives you a function and says that it is a backward. How do you find out whether it is right?
#
# A test is good if wrong functions fail it. So take a right function and spoil it a little. That is called a
# **mutant**. If your test accepts the mutant, the mutant *survives*, and your test is too weak. Here are two
# mutants and a weak test.


# %%
def mutant_without_scale(gY, X, Z, W0, B, A, scale):
    """Forget s everywhere."""
    del scale
    return gY @ W0 + (gY @ B) @ A, gY.T @ Z, (gY @ B).T @ X


def mutant_with_mean(gY, X, Z, W0, B, A, scale):
    """Divide by the number of rows once more."""
    gZ = scale * (gY @ B)
    return gY @ W0 + gZ @ A, scale * (gY.T @ Z) / len(X), gZ.T @ X / len(X)


def weak_test(backward):
    """Try one row, one input, one output, rank one, scale one, all numbers 1."""
    one = np.ones((1, 1))
    return all(
        g[0, 0] == answer
        for g, answer in zip(backward(one, one, one, one, one, one, 1.0), (2, 1, 1), strict=True)
    )


print("weak test accepts:", weak_test(mutant_without_scale), weak_test(mutant_with_mean))
assert weak_test(mutant_without_scale)
assert weak_test(mutant_with_mean)

# %% [markdown]
# Both survive. Of course: with s = 1 nobody sees a missing scale, and with N = 1 a mean is a sum.
#
# ### Exercise 05.4 ★★★ · The reverse: write the test
#
# Write `test_backward(backward)`. You get a function with the arguments of exercise 05.2. Return True if it
# is right and False if it is wrong. (Or use `assert`: an AssertionError counts as False.) Your test will meet
# several right functions, which may differ in the last digits, and several mutants. It must accept all of the
# first and none of the others.
#
# You do not need a formula for the gradients. For a fixed gY, take L = the sum of all gY·Y. Then gY is the
# gradient of Y, and central differences of L tell you what gX, gB and gA must be. Think about which N, d, k,
# r and s to try.


# %% tags=["exercise"]
def test_backward(backward):
    """Return whether `backward` is right."""
    # BEGIN SOLUTION
    rng = np.random.default_rng(0)
    N, d, k, r, s = 4, 3, 5, 2, 0.5
    gY, W0 = rng.standard_normal((N, d)), rng.standard_normal((d, k))
    parts = [rng.standard_normal(shape) for shape in ((N, k), (d, r), (r, k))]  # X, B, A

    def L(X, B, A):
        return np.sum(gY * (X @ W0.T + s * ((X @ A.T) @ B.T)))

    X, B, A = parts
    found = backward(gY, X, X @ A.T, W0, B, A, s)
    for number, (part, gradient) in enumerate(zip(parts, found, strict=True)):
        for place in np.ndindex(part.shape):
            up, down = ([p.copy() for p in parts] for _ in range(2))
            up[number][place] += 1
            down[number][place] -= 1
            if abs((L(*up) - L(*down)) / 2 - gradient[place]) > 1e-9:
                return False
    return True
    # END SOLUTION


# %% tags=["check"]
check("05.4", test_backward)

# %% [markdown]
# Why may h be 1 here? L is a straight line along every single cell of X, B or A. A central difference is
# exact on a line for any h, and a large h keeps rounding small.
#
# ## Exit quiz
#
# **1.** N = 32, d = 10, k = 20, r = 4. What is the shape of gZ?
#
# - a) (10, 4)
# - b) (4, 20)
# - c) (32, 10)
# - d) (32, 4)
#
# **2.** W₀ is frozen. What does backward save?
#
# - a) the product gY W₀
# - b) the gradient gW, which is as large as W₀
# - c) both of these
# - d) nothing
#
# **3.** B is zero and A is random. Which gradient is zero for certain?
#
# - a) gA
# - b) gB
# - c) gX
# - d) all three
#
# **4.** Your loss is a sum over rows. You put every row into the batch twice. What happens to gB?
#
# - a) it stays as it is
# - b) it becomes half as large
# - c) it becomes twice as large
# - d) it gets twice as many rows
#
# **5.** You check a gradient by central differences with h = 1e-15, and it looks wrong. What is the likely
# reason?
#
# - a) h is still too large
# - b) rounding: the two losses agree in nearly all their digits
# - c) central differences work only for straight lines
# - d) the gradient must be wrong


# %% tags=["exercise"]
def quiz():
    """Return the letters of your answers, in order."""
    # BEGIN SOLUTION
    return "d", "b", "a", "c", "b"
    # END SOLUTION


# %% tags=["check"]
check("05.quiz", quiz)

# %% [markdown] tags=["solution"]
# 1. **d.** A gradient has the shape of its thing, and Z is (N, r).
# 2. **b.** No gW is needed. The product gY W₀ is: it carries the gradient down to the input.
# 3. **a.** gA = s (gY B)ᵀ X contains B. gB contains A, and gX has the way through W₀.
# 4. **c.** Each row gives its share, and the shares are added.
# 5. **b.** The difference of the losses is then little more than rounding, and it is divided by a tiny
#    number.

# %% [markdown]
# ## Where next
#
# - [Lesson 06](lesson:06): there is a second way to get the same gradients. Which one is cheaper?
# - [Gradients room](app:grad?grad_of=A&grad_cell_A=2,2): work out this cell on paper first.
# - [Oracle room](app:report): the list of checks that this library passes, central differences among them.
