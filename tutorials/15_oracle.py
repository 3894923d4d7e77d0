# %% [markdown]
# # 15 · Be an oracle
#
# **Time:** 90 minutes · **Before:** 05, 08
#
# **Goals:** measure an error so that no mistake can hide behind a tolerance; put an implementation to a test of many
# known answers; write a test that catches a mistake nobody told you about.
#
# **The mistake this cures:** "It runs, it trains, and its tests pass to 1e-5. So it is right."

# %%
from importlib.util import find_spec

import numpy as np

from lora_np.conformance import bounds
from lora_np.conformance import check as certify
from lora_np.conformance.diagnose import diagnoses, verdict
from lora_np.conformance.published import results
from lora_np.conformance.runner.calling import call
from lora_np.conformance.runner.record import AUTHORITY
from lora_np.conformance.runner.run import chosen
from lora_np.lora import LoraParams
from lora_np.teach import check, hint, picture

rng = np.random.default_rng(0)

# %% [markdown]
# ## A question whose answer is known
#
# An *oracle* is somebody you ask whether an answer is right. To be one you need questions whose answers you know, not
# because your own program says so, but in another way. The best way is by hand.
#
# Take the LoRA layer Y = X W₀ᵀ + s (X Aᵀ) Bᵀ with small numbers. X is one row, (1, 3). W₀ is (2, 3), B is (2, 1), A is
# (1, 3), and s = 2:
#
# - X = [1, −2, 4], W₀ = [[1, 2, 3], [4, 5, 6]], B = [2, −1]ᵀ, A = [1, 3, −0.5].
# - X W₀ᵀ = [1 − 4 + 12, 4 − 10 + 24] = [9, 18].
# - X Aᵀ = 1 − 6 − 2 = −7. Times s: −14. Times Bᵀ: [−28, 14].
# - Y = [9 − 28, 18 + 14] = [−19, 32].
#
# No number here needs more digits than a float has. So nothing is rounded, in whatever order it is computed. Every
# right program must give exactly [−19, 32].

# %%
X, W0 = np.array([[1.0, -2.0, 4.0]]), np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
B, A, s = np.array([[2.0], [-1.0]]), np.array([[1.0, 3.0, -0.5]]), 2.0
through_factors = X @ W0.T + s * (X @ A.T) @ B.T
through_weight = X @ (W0 + s * B @ A).T
print(through_factors, through_weight)
assert (through_factors == np.array([[-19.0, 32.0]])).all()
assert (through_weight == through_factors).all()

# %% [markdown]
# One such question with its answer is called a *test vector*. This package ships some thousands of them. Most have
# numbers that do need rounding; their answers were computed with fractions, which are exact, and then written down.
#
# ## A tolerance that sees nothing
#
# When numbers are rounded, two right programs differ a little. So tests allow a tolerance. The usual one:
# `np.allclose(got, want)` allows 1e-5 relative, and 1e-8 absolute. Here are two answers that are plainly wrong.

# %%
tiny_got, tiny_want = np.array([1e-9]), np.array([5e-9])  # wrong by a factor of 5
print("five times too small:", np.allclose(tiny_got, tiny_want))
exact = rng.normal(size=4)
single = exact.astype(np.float32).astype(np.float64)  # half of the digits are lost
print("half of the digits lost:", np.allclose(single, exact))

# %% [markdown]
# Both pass. The first hides behind the absolute tolerance: next to 1e-8 everything small is equal. The second hides
# behind the relative one: a float64 carries about 16 digits, and the test looks at 5.
#
# ## Count in roundings
#
# How large may an error be, if the formula is right? A computer rounds each operation. The result of one operation is
# off by at most the share u of it, and u = 2⁻⁵³, about 1.1e-16, for float64. So we count errors in units of u.
#
# In units of u of *what*? Not of the result. Look: (10¹⁶ + 1) − 10¹⁶ should be 1. The computer says 0, because
# 10¹⁶ + 1 has one digit too many. The result is off by 100 %. Yet nothing was wrong but one rounding, of a number near
# 10¹⁶. The fair measure is the size S of what was added up: 10¹⁶ + 1 + 10¹⁶. It is the same formula with all signs
# made positive.
#
# [oracle-error]
#
# Here: the error is 1, u S is about 1.1e-16 · 2e16 = 2.2, so the error is 0.45 u. Less than one rounding: no mistake.

# %%
u = 2.0**-53
got, want, S = (1e16 + 1) - 1e16, 1.0, 2e16
print(f"u = {u:.1e}, u S = {u * S:.1f}; got {got}, want {want}: error {abs(got - want) / (u * S):.2f} u")
got, want, S = 0.1 + 0.2, 0.3, 0.3
print(f"got {got}, want {want}: error {abs(got - want) / (u * S):.2f} u")
assert bounds.error_in_u(np.array([got]), np.array([want]), np.array([S])) == abs(got - want) / (u * S)

# %% [markdown]
# With K roundings, in any order, the error is at most about K u S:
#
# [oracle-gamma]
#
# In practice roundings cancel, and right code stays below a few u. The oracle lets 16 u pass. What is that next to
# the usual tolerance? 1e-5 is 90 billion u.

# %%
print(f"1e-5 is {1e-5 / u:.0e} u; the two answers from above:")
for name, got, want in (("five times too small", tiny_got, tiny_want), ("half of the digits", single, exact)):
    print(f"  {name}: {bounds.error_in_u(got, want, abs(want)):.1e} u")

# %% [markdown]
# ### Exercise 15.1 ★★ · The worst error
#
# Write `worst_error(got, want, S)`. All three are arrays of one shape; S is positive. Return one number: the largest
# |got − want| / (u S), with u = 2⁻⁵³. If any element of `got` is NaN, return `np.inf`. (The maximum of something with
# a NaN is NaN, and NaN > 16 is False. An oracle that forgets this lets NaN pass.)
#
# Example: got = [1, 3], want = [1, 2], S = [1, 4] gives 1 / (4 u) = 2⁵¹.


# %% tags=["exercise"]
def worst_error(got, want, S):
    """Return the largest |got - want| / (u S), and inf if got has a NaN."""
    # BEGIN SOLUTION
    if np.isnan(got).any():
        return np.inf
    return np.max(np.abs(got - want) / (2.0**-53 * S))
    # END SOLUTION


# %% tags=["check"]
check("15.1", worst_error)

# %% [markdown]
# ## Put an implementation to the test
#
# The vectors are asked through a small class: a plug between the oracle and the code under test. It says who it is
# and what it claims to do, and has one method for each operation. Each method gets the name of the method ("lora"), the
# settings, and the arrays by name. Below is LoRA as anyone would write it.


# %%
class Plain:
    """LoRA in plain NumPy: what it claims, and three operations."""

    name, version = "plain", "1.0"
    capabilities = ("lora.forward", "lora.backward", "lora.merge")
    dtypes = ("float64",)

    def __init__(self):
        self.options = {"errors": "none"}  # it does not claim to refuse bad input

    def scale(self, config):
        return config["alpha"] / config["rank"]

    def forward(self, _method, config, t):
        Y = t["X"] @ t["W0"].T + self.scale(config) * (t["X"] @ t["A"].T) @ t["B"].T
        return Y + t["bias"] if "bias" in t else Y

    def backward(self, _method, config, t):
        s, gY, X, B, A = self.scale(config), t["gY"], t["X"], t["B"], t["A"]
        return {"gX": gY @ t["W0"] + s * gY @ B @ A, "gB": s * gY.T @ (X @ A.T), "gA": s * (gY @ B).T @ X}

    def merge(self, _method, config, t):
        return t["W0"] + self.scale(config) * t["B"] @ t["A"]


report = certify(Plain(), include="lora/", isolated=False)
print(
    f"{report.passed} of {report.cases} pass, {report.not_claimed} not claimed; worst {report.worst_u:.1f} u"
)
for failure in report.failures:
    print(failure.id, "|", chosen(failure.id)[0].comment, "|", failure.problem[:40], "...")

# %% [markdown]
# 61 of 62 pass, and the worst of them is off by less than 2 u. But one case fails, and nobody planted it. Its batch has
# *two* leading axes, as in a network for texts: (sentences, tokens, k). `forward` does not mind. `gY.T` does: it turns
# all axes round. Whoever tests with matrices only never sees this.
#
# The mend: lay all rows under each other first.


# %%
def rows(x):
    """Make a matrix of x: all leading axes in one."""
    return x.reshape(-1, x.shape[-1])


class Mended(Plain):
    """The same, for rows with any number of leading axes."""

    name = "mended"

    def backward(self, _method, config, t):
        s, gY, X, B, A = self.scale(config), rows(t["gY"]), rows(t["X"]), t["B"], t["A"]
        gX = t["gY"] @ t["W0"] + s * t["gY"] @ B @ A
        return {"gX": gX, "gB": s * gY.T @ (X @ A.T), "gA": s * (gY @ B).T @ X}


report = certify(Mended(), include="lora/", isolated=False)
print(f"{report.passed} of {report.cases} pass; certified: {report.ok}")
assert report.ok

# %% [markdown]
# 325 cases were not claimed: other element types, other operations, bad input. They were not asked. A dash in a report
# is neither praise nor blame.
#
# ### Exercise 15.2 ★★ · A plug of your own
#
# Write `forward(method, config, tensors)` for two methods. For `"lora"` the scale is alpha / rank, for `"rslora"` it is
# alpha / √rank; `config` is a dictionary with `"alpha"` and `"rank"`. `tensors` has `"X"` (…, k), `"W0"` (d, k), `"B"`
# (d, r), `"A"` (r, k), and sometimes `"bias"` (d), which no scale touches. Return Y (…, d).
#
# Example: with the X, W0, B, A from the top, alpha = 2, rank = 1 and no bias: [[−19, 32]] for both methods.


# %% tags=["exercise"]
def forward(method, config, tensors):
    """Return Y."""
    # BEGIN SOLUTION
    rank = config["rank"]
    s = config["alpha"] / (rank if method == "lora" else np.sqrt(rank))
    Y = tensors["X"] @ tensors["W0"].T + s * (tensors["X"] @ tensors["A"].T) @ tensors["B"].T
    return Y + tensors["bias"] if "bias" in tensors else Y
    # END SOLUTION


# %% tags=["check"]
check("15.2", forward)

# %% [markdown]
# ## Find the planted bug
#
# Here are four copies of the mended class. Each has one mistake. Read them before you go on. Then think of a test that
# many would write: rank 2, alpha 2, one row, `np.allclose`. Which of the four does it catch?


# %%
class Whole(Mended):
    """Alpha and rank are whole numbers, so //."""

    def scale(self, config):
        return config["alpha"] // config["rank"]


class Mean(Mended):
    """The gradients of the factors are means over the rows."""

    def backward(self, _method, config, t):
        g, n = super().backward(_method, config, t), max(len(rows(t["X"])), 1)
        return {"gX": g["gX"], "gB": g["gB"] / n, "gA": g["gA"] / n}


class Saving(Mended):
    """X Aᵀ is kept in single precision, to save memory."""

    def backward(self, _method, config, t):
        g = super().backward(_method, config, t)
        Z = (rows(t["X"]) @ t["A"].T).astype(np.float32).astype(np.float64)
        return {**g, "gB": self.scale(config) * rows(t["gY"]).T @ Z}


class Inside(Mended):
    """The bias is added before scaling."""

    def forward(self, _method, config, t):
        Y = super().forward(_method, config, t)
        return Y + (self.scale(config) - 1) * t["bias"] if "bias" in t else Y


# %%
def usual_test(code):
    """Test with rank 2, alpha 2, one row, and np.allclose."""
    config = {"rank": 2, "alpha": 2}
    shapes = {"X": (1, 4), "W0": (3, 4), "B": (3, 2), "A": (2, 4), "bias": (3,), "gY": (1, 3)}
    t = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    right, g, wanted = Mended(), code.backward("lora", config, t), Mended().backward("lora", config, t)
    return np.allclose(code.forward("lora", config, t), right.forward("lora", config, t)) and all(
        np.allclose(g[name], wanted[name]) for name in wanted
    )


asked = {case.id: case for case in chosen("lora/")}
for kind in (Whole, Mean, Saving, Inside):
    failed = [asked[failure.id] for failure in certify(kind(), cases=asked.values(), isolated=False).failures]
    mistake = verdict(diagnoses(case, call(kind(), case).outputs) for case in failed)
    print(f"{kind.__name__}: the usual test passes: {usual_test(kind())}; oracle: {len(failed)} fail")
    print(f"    {mistake.name}: {mistake.sentence}")

# %% [markdown]
# The usual test catches none of the four. Rank 2 and alpha 2 make the scale 1, and with scale 1 neither `//` nor a
# scaled bias shows. One row makes mean and sum the same. And `np.allclose` does not see single precision.
#
# The oracle finds all four, and its *diagnoser* names them. How? It has a table of mistakes that people make. It
# computes what each mistake would give, and looks which one explains all wrong numbers.
#
# A diagnosis is a guess, too. Where N and r are both 2, "divided by N" and "divided by r" are the same number, and one
# case cannot decide between them. So the name that explains *most of the failing cases* is taken.
#
# ### Exercise 15.3 ★★ · One question, six answers
#
# Be the diagnoser. Write `diagnose(forward)`. You get a function `forward(X, W0, B, A, scale)` that returns Y for
# arrays of the usual shapes. It is right, or it makes one of five mistakes. Return one of these words:
#
# - `"right"`: X W₀ᵀ + s (X Aᵀ) Bᵀ
# - `"scale missing"`: X W₀ᵀ + (X Aᵀ) Bᵀ
# - `"scale squared"`: X W₀ᵀ + s² (X Aᵀ) Bᵀ
# - `"increment missing"`: X W₀ᵀ
# - `"increment subtracted"`: X W₀ᵀ − s (X Aᵀ) Bᵀ
# - `"base scaled"`: s X W₀ᵀ + s (X Aᵀ) Bᵀ
#
# One call is enough, if you choose numbers for which the six give six different results. 1 × 1 arrays will do.


# %% tags=["exercise"]
def diagnose(forward):
    """Return the word for what `forward` computes."""
    # BEGIN SOLUTION
    one = np.ones((1, 1))
    Y = forward(one, 100 * one, one, one, 3.0)  # base 100, increment 1, scale 3
    words = {103: "right", 101: "scale missing", 109: "scale squared", 100: "increment missing"}
    return (words | {97: "increment subtracted", 303: "base scaled"})[round(float(Y[0, 0]))]
    # END SOLUTION


# %% tags=["check"]
check("15.3", diagnose)

# %% [markdown]
# ## Which inputs bite
#
# A wrong program is called a *mutant* of the right one. A test that tells it from the right one *kills* it. We set four
# mutants of forward against four kinds of input, and compare to 16 u.


# %%
def right(X, W0, B, A, scale):
    return X @ W0.T + scale * (X @ A.T) @ B.T


mutants = {
    "scale missing": lambda X, W0, B, A, _: right(X, W0, B, A, 1.0),
    "sign of A": lambda X, W0, B, A, s: right(X, W0, B, -A, s),
    "W0 transposed": lambda X, W0, B, A, s: right(X, W0.T, B, A, s),
    "first row only": lambda X, W0, B, A, s: right(X[:1] + 0 * X, W0, B, A, s),
}


def question(N, d, k, r, scale, *, b=1.0, symmetric=False):
    """Draw the inputs of one test."""
    W0 = rng.normal(size=(d, k))
    return (
        rng.normal(size=(N, k)),
        W0 + W0.T if symmetric else W0,
        b * rng.normal(size=(d, r)),
        rng.normal(size=(r, k)),
        scale,
    )


questions = {
    "fresh layer, B = 0": question(3, 4, 4, 2, 0.5, b=0.0),
    "scale 1": question(3, 4, 4, 2, 1.0),
    "one row": question(1, 4, 4, 2, 0.5),
    "symmetric W0": question(3, 4, 4, 2, 0.5, symmetric=True),
    "nothing special": question(3, 5, 4, 2, 0.5),
}


def survives(mutant, asked):
    """Tell whether a mutant passes a test; one that raises does not."""
    X, W0, B, A, s = asked
    try:
        got = mutant(*asked)
    except ValueError:
        return False
    S = bounds.forward_scale(X, W0, LoraParams(B, A), s)[0]
    return bounds.error_in_u(got, right(*asked), S) <= 16


print(f"{'survivors':20}" + "".join(f"{name:>17}" for name in mutants))
for name, asked in questions.items():
    marks = ["lives" if survives(mutant, asked) else "." for mutant in mutants.values()]
    print(f"{name:20}" + "".join(f"{mark:>17}" for mark in marks))

# %% [markdown]
# Only the last line kills all four. Its recipe is short:
#
# - *All sides different*: N, d, k and r. What is transposed then does not even fit.
# - *A scale that is not 1.* With alpha = rank every mistake in the scale is invisible.
# - *No zeros, no ones, nothing symmetric.* LoRA starts at B = 0; a test of a fresh layer tests half of it.
# - *More than one row.*
# - *Compare every output, every element, in units of u.*
# - *Look whether the inputs are still what they were.*
#
# ### Exercise 15.4 ★★ · A test that kills
#
# The other way round: now *you* write the test. Write `test_forward(forward)` for functions
# `forward(X, W0, B, A, scale)`. It returns True for a right implementation and False for a wrong one (or uses
# `assert`). It will meet two right ones, which differ in the last digits, and eight mutants. You need the right answer
# yourself: compute it in the test, or work one out by hand. Do not call `lora_np`.


# %% tags=["exercise"]
def test_forward(forward):
    """Return True if `forward` is right."""
    # BEGIN SOLUTION
    rng = np.random.default_rng(1)
    X, W0 = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    B, A, scale = rng.normal(size=(4, 2)), rng.normal(size=(2, 5)), 0.75
    kept = [x.copy() for x in (X, W0, B, A)]
    got = forward(X, W0, B, A, scale)
    unchanged = all((x == y).all() for x, y in zip((X, W0, B, A), kept, strict=True))
    X, W0, B, A = kept
    want = X @ W0.T + scale * (X @ A.T) @ B.T
    S = abs(X) @ abs(W0).T + scale * (abs(X) @ abs(A).T) @ abs(B).T
    return unchanged and bool((abs(got - want) <= 16 * 2.0**-53 * S).all())
    # END SOLUTION


# %% tags=["check"]
check("15.4", test_forward)

# %% [markdown]
# ### Exercise 15.5 ★★★ · A test for backward
#
# Write `test_backward(backward)` for functions `backward(gY, X, W0, B, A, scale)` that return `gX, gB, gA`. Two are
# right, ten are mutants. This time you may call `lora_np` for the right answer; or use finite differences, which need
# no formula. (Finite differences are right to about 8 digits only. One mutant has lost its digits in float32. Will they
# tell it apart?)


# %% tags=["exercise"]
def test_backward(backward):
    """Return True if `backward` is right."""
    # BEGIN SOLUTION
    from lora_np import lora

    rng = np.random.default_rng(2)
    gY, X, W0 = rng.normal(size=(3, 4)), rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    B, A, scale = rng.normal(size=(4, 2)), rng.normal(size=(2, 5)), 0.75
    kept = [x.copy() for x in (gY, X, W0, B, A)]
    got = backward(gY, X, W0, B, A, scale)
    if not all((x == y).all() for x, y in zip((gY, X, W0, B, A), kept, strict=True)):
        return False
    gX, g = lora.backward(kept[0], X, X @ A.T, W0, lora.LoraParams(B, A), scale=scale)
    return len(got) == 3 and all(
        mine.shape == want.shape and np.allclose(mine, want, rtol=1e-13, atol=1e-13)
        for mine, want in zip(got, (gX, g.B, g.A), strict=True)
    )
    # END SOLUTION


# %% tags=["check"]
check("15.5", test_backward)

# %% [markdown]
# ## Certify a released one
#
# Now the software that everybody uses. We ran the vectors against released libraries and keep what came out in the
# package. We read it here; nothing has to be installed for that.

# %%
published = {one.target: one for one in results().implementations}
for name, one in published.items():
    print(
        f"{name:12} {one.passed:>5,} of {one.cases:>5,} pass, {one.failed:>3} fail, {one.not_claimed:>3} not claimed"
    )
peft = published["peft"]
kinds = {
    verdict: sum(f.number for f in peft.failures if f.verdict == verdict)
    for verdict in ("defect", "precision", "by design")
}
print("peft", peft.versions["peft"], kinds)

# %% [markdown]
# PEFT fails 383 of 3,264 cases. Is that a bad library? Look before you judge. Each failure was read by a person and
# put into one of three drawers:
#
# - *by design* (179): another choice was made on purpose. PyTorch converts a number of another type, where the vectors
#   want it refused.
# - *precision* (105): the formula is right, digits are lost on the way.
# - *defect* (99): the result is wrong.
#
# **A defect.** OFT rotates the weight. PEFT has two ways to compute the rotation, one exact and one by a series. The
# exact one turns the wrong way round. Train with one, load with the other, and the layer is turned to the wrong side.
#
# **A loss of digits.** To take (IA)³ out of a merged weight one divides by the factors l ([lesson 11](lesson:11)). PEFT
# divides by l + 1e-8, so as not to divide by zero. Then W₀ l / (l + 1e-8) comes back, and that is W₀ (1 − 1e-8 / l),
# nearly. By hand, with l = 1: the relative error is 1e-8, and in units of u that is 1e-8 / 1.1e-16, about 90 million.
# Would a test to 1e-5 see it?

# %%
for factor in (1.0, 0.1, 0.0001):
    back = 3.7 * factor / (factor + 1e-8)  # merge 3.7, unmerge it with the small number added
    seen = "no" if np.allclose(back, 3.7, rtol=1e-5, atol=0) else "yes"
    print(f"l = {factor}: error {abs(back - 3.7) / (u * 3.7):.1e} u; seen by a test to 1e-5: {seen}")
ia3 = next(f for f in peft.failures if f.name == "ia3-unmerge-epsilon" and f.flag)
print(f"the oracle's run: {ia3.number} cases, up to {ia3.worst_u:.2g} u; {ia3.diagnosis}")

# %% [markdown]
# Our little computation and the run of the real library agree in size. And the diagnoser has found the 1e-8 without
# reading the code.
#
# Is PEFT on this machine? Then ask it yourself. This takes some seconds; it runs in a process of its own, so that
# nothing it does can stop the oracle.

# %% tags=["ungraded"]
if find_spec("peft") and find_spec("torch"):
    live = certify("peft", include="ia3/unmerge", limit=60)
    print(f"live: {live.failed} of {live.cases} cases fail; {live.failures[0].diagnosis}")
else:
    row = next(one for one in peft.table if one.capability == "ia3.unmerge")
    print(f"peft is not installed; published: {row.failed} of {row.cases} cases fail")

# %% [markdown]
# The picture shows each library's worst errors, method by method. Filled marks passed, open ones failed. Look at the
# dotted line of a test to 1e-5: how many open marks lie to the left of it?

# %% tags=["picture"]
from lora_np.figures import report, report_scene
from lora_np.teach import picture

scene = report_scene.report_scene()
shown = [
    row
    for row in scene.rows(("ia3", "lora", "oft", "rslora"))
    if row.implementation in ("peft", "loralib", "torch")
]
picture(report.worst_errors(shown, tolerance="1e-5", chosen="peft"))

# %% [markdown]
# Read it all in the [Oracle room](app:report?implementation=peft&asked_method=oft), or look at
# [the authors' own code](app:report?implementation=loralib&asked_method=lora).
#
# ## Who is right when two differ?
#
# An oracle can be wrong, too. So there is an order, fixed before anything was compared: who comes first decides.

# %%
for place, who in enumerate(AUTHORITY, 1):
    print(place, who)

# %% [markdown]
# Released software stands *last*. Millions use it, and that makes it important, but not right. And the paper's equation
# stands first, even before our own code. When the equation itself has a slip, that is said, and not silently mended.
#
# If you report a defect: give the smallest case that shows it, what you got and what you wanted, the versions, and a
# script that prints both. And say what you did *not* test.
#
# ## Exit quiz
#
# **1.** A test compares two float64 results with a tolerance of 1e-5 and passes. What do you know?
#
# a) the formula is right
#
# b) about 5 digits agree; a wrong constant, or single precision, may still be inside
#
# c) the result is right to 16 digits
#
# d) nothing was rounded
#
# **2.** Why is an error measured against S, the sum of the sizes of all terms, and not against the result?
#
# a) because S is never zero
#
# b) because S is easier to compute
#
# c) to allow larger errors
#
# d) where terms cancel, right code has a large relative error
#
# **3.** All your tests use alpha = rank. Which mistake can they never find?
#
# a) any mistake in the scale
#
# b) a transposed A
#
# c) a bias that is forgotten
#
# d) a wrong sign
#
# **4.** A library shows a dash for "lora.backward" in the report: not claimed. It means that
#
# a) its backward is wrong
#
# b) its backward is right
#
# c) it was not asked
#
# d) the oracle failed
#
# **5.** A library fails 30 cases. What comes before you call it broken?
#
# a) run them again, until they pass
#
# b) look at each kind of failure: wrong result, lost digits, or another choice
#
# c) raise the tolerance until few are left
#
# d) nothing: a failure is a failure


# %% tags=["exercise"]
def quiz():
    """Return your five letters."""
    # BEGIN SOLUTION
    return "b", "d", "a", "c", "b"
    # END SOLUTION


# %% tags=["check"]
check("15.quiz", quiz)

# %% [markdown] tags=["solution"]
# **1.** b: 1e-5 is 90 billion roundings, and a mistake of 1e-7 is invisible in it.
#
# **2.** d: (10¹⁶ + 1) − 10¹⁶ is off by 100 %, with one rounding.
#
# **3.** a: the scale is 1, and 1 missing, squared or inverted is still 1.
#
# **4.** c: a dash is neither praise nor blame.
#
# **5.** b: of PEFT's failures about half are choices made on purpose.

# %% [markdown]
# ## Where next
#
# - [Ask our own four implementations again](app:report?asked_method=lora), in the app
# - On the command line: `lora-np conformance --help`
# - [Back to lesson 05](lesson:05): test your own backward, with what you know now.
