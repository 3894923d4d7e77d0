# %% [markdown]
# # 14 · Make it fast
#
# **Time:** 75 minutes · **Before:** 06, 12
#
# **Goals:** count the FLOPs and the bytes of an operation; read a roofline, and say what an operation waits
# for; tell when NumPy, Numba or a GPU helps, before you try.
#
# **The mistake this cures:** "Fewer FLOPs means faster."
#
# Times differ from machine to machine and from minute to minute. This lesson prints times and asserts none
# of them. They stand on lines that begin with "measured": read their ratios. What it does assert are
# *counts*: those are the same everywhere.

# %%
import numpy as np

from lora_np import prune
from lora_np.backends.choice import get_backend
from lora_np.bench.measure import in_turns
from lora_np.errors import BackendError
from lora_np.teach import check, hint, picture

# %% [markdown]
# ## One sum, four ways
#
# The row sums of lesson 12: for each output i, add up gY_ni · Y_ni over the batch. gY and Y are (N, d).
#
# By hand, N = 2 and d = 1: gY = [[2], [3]], Y = [[5], [7]]. The sum is 2 · 5 + 3 · 7 = 31. Two
# multiplications and two additions (the first adds to 0): 4 FLOPs. A *FLOP* is one addition or
# multiplication of floats.
#
# First in plain Python, one number at a time. Then in NumPy, all at once.


# %%
def by_loops(gY, Y):
    """Σ_n gY_ni Y_ni, one number at a time."""
    N, d = Y.shape
    sums = np.zeros(d)
    for n in range(N):
        for i in range(d):
            sums[i] += gY[n, i] * Y[n, i]
    return sums


def by_numpy(gY, Y):
    """The same, in two calls: multiply all, add up all."""
    return (gY * Y).sum(axis=0)


assert by_loops(np.array([[2.0], [3.0]]), np.array([[5.0], [7.0]])) == [31]
rng = np.random.default_rng(0)
gY, Y = rng.normal(size=(2, 300, 200))
ways = {"loops": by_loops, "NumPy": by_numpy}

# %% [markdown]
# **Numba** compiles the loops that you wrote to machine code, the first time they are called. The code does
# not change.
#
# **CuPy** has NumPy's functions for arrays that live on a GPU. Where one of the two is missing, the lesson
# says so and goes on.

# %%
try:
    get_backend("numba")  # is there a Numba, and does it load?
    import numba

    ways["Numba"] = numba.njit(by_loops)
except BackendError as error:
    print("No Numba here:", str(error).splitlines()[0])

try:
    import cupy

    gY_gpu, Y_gpu = cupy.asarray(gY), cupy.asarray(Y)
    ways["GPU"] = lambda *_: cupy.asnumpy((gY_gpu * Y_gpu).sum(axis=0))
    ways["GPU"]()
except Exception as error:  # no CuPy, or CuPy and no GPU: each has errors of its own
    ways.pop("GPU", None)
    print("No GPU here:", type(error).__name__)

# %%
for name, way in ways.items():
    assert np.allclose(way(gY, Y), prune.group_dot(gY, Y)), name
times = in_turns({name: lambda way=way: way(gY, Y) for name, way in ways.items()}, budget_s=0.4)
for name, milliseconds in times.items():
    ratio = times["loops"] / milliseconds
    print(f"measured: {name:6} {milliseconds:8.3f} ms, {ratio:6.0f} times as fast as the loops")

# %% [markdown]
# All ways do the same 120,000 FLOPs. Python is slow because it asks, 60,000 times over: what type is this,
# which method multiplies it, where do I put the result? NumPy asks once. Numba asks while it compiles.
#
# A small sum on a GPU gains little: starting work there costs about as much as the sum.

# %%
N, d = Y.shape
print(f"{N * d:,} pairs of numbers, {2 * N * d:,} FLOPs")

# %% [markdown]
# ## Count before you time
#
# A clock says how long. A count says *why*. Two counts are enough: FLOPs, and bytes moved between memory
# and the processor. For a product of an (m, n) and an (n, p) matrix:
#
# [cost-product]
#
# By hand: (2, 3) times (3, 4). The result has 8 numbers, each takes 3 multiplications and 3 additions:
# 2 · 2 · 3 · 4 = 48 FLOPs. Moved are 6 numbers, 12 numbers and 8 numbers: 26. In float64 a number has 8
# bytes: 208 bytes.
#
# ### Exercise 14.1 ★ · What a product costs
#
# Write `product_cost(m, n, p, itemsize)`. All four are whole numbers; itemsize is the bytes of one number.
# Return two whole numbers: the FLOPs, and the bytes moved, each operand read once and the result written
# once.
#
# Example: product_cost(2, 3, 4, 8) is (48, 208).


# %% tags=["exercise"]
def product_cost(m, n, p, itemsize):
    """Return FLOPs and bytes of an (m, n) by (n, p) product."""
    # BEGIN SOLUTION
    return 2 * m * n * p, (m * n + n * p + m * p) * itemsize
    # END SOLUTION


# %% tags=["check"]
check("14.1", product_cost)

# %% [markdown]
# Divide the one by the other: FLOPs per byte. That is the **arithmetic intensity** I. It says how much work
# each byte brings along.
#
# - The small product: 48 / 208 = 0.231.
# - A product of two 1000 × 1000 matrices: 2,000,000,000 FLOPs, 24,000,000 bytes, I = 83.3.
# - The *sum* of two such matrices: 1,000,000 FLOPs, the same 24,000,000 bytes, I = 0.0417.
#
# A product reuses each number a thousand times. A sum uses it once. No size changes that.

# %%
n = 1000
for name, flops, moved in (
    ("small product", 2 * 2 * 3 * 4, 26 * 8),
    ("large product", 2 * n**3, 3 * n * n * 8),
    ("sum", n * n, 3 * n * n * 8),
):
    print(f"{name:13} {flops:13,} FLOPs {moved:10,} bytes, intensity {flops / moved:.3g}")

# %% [markdown]
# ## The roofline
#
# A machine has two rates: R, the FLOPs it can do in a second, and β, the bytes it can move in a second.
# Work and traffic overlap, so an operation takes as long as the slower of the two:
#
# [cost-roofline]
#
# Take a machine for the blackboard: R = 100 GFLOP/s and β = 10 GB/s. (G is a billion.)
#
# - The sum: arithmetic 0.01 ms, traffic 2.4 ms. It takes 2.4 ms. The arithmetic is idle nearly all of the
#   time.
# - The product: arithmetic 20 ms, traffic 2.4 ms. It takes 20 ms.
#
# So the product does **2000 times** the FLOPs in about **8 times** the time. FLOPs alone predict nothing.

# %%
R, beta = 100e9, 10e9
seconds = {"sum": max(n**2 / R, 24 * n**2 / beta), "product": max(2 * n**3 / R, 24 * n**2 / beta)}
print({name: f"{1e3 * value:.1f} ms" for name, value in seconds.items()})
print(f"FLOPs {2 * n**3 / n**2:.0f} times, time {seconds['product'] / seconds['sum']:.1f} times")
print(f"arithmetic of the sum {1e3 * n**2 / R:.2f} ms")
assert np.isclose(seconds["product"] / seconds["sum"], 25 / 3)

# %% [markdown]
# Draw it. To the right, the intensity I. Upward, the FLOP/s one can attain: I · β while memory is too slow,
# and never more than R. A slope, then a flat roof. They meet at I = R / β, here at 10 FLOPs per byte: the
# **ridge**.
#
# Left of the ridge an operation waits for memory. There, only moving fewer bytes helps. Right of it, it
# waits for arithmetic. There, only fewer or faster FLOPs help.

# %%
for intensity in (0.04, 0.2, 1, 4, 10, 40, 80):
    attained = min(R, intensity * beta)
    wall = "memory" if attained < R else "arithmetic"
    bar = "#" * round(10 + 10 * np.log10(attained / 1e9))
    print(f"I = {intensity:5g}  {bar:30} {attained / 1e9:5g} GFLOP/s, waits for {wall}")

# %% [markdown]
# ### Exercise 14.2 ★ · Under the roof
#
# Given the FLOPs and the bytes of an operation, a machine's rate R and its bandwidth β, write
# `attainable(flops, bytes_moved, rate, bandwidth)`. Return the FLOP/s that the operation can attain.
#
# Example: flops = 48, bytes_moved = 208, rate = 100e9, bandwidth = 10e9 gives about 2.31e9. Far below the
# roof.


# %% tags=["exercise"]
def attainable(flops, bytes_moved, rate, bandwidth):
    """Return the FLOP/s under the roofline."""
    # BEGIN SOLUTION
    return min(rate, flops / bytes_moved * bandwidth)
    # END SOLUTION


# %% tags=["check"]
check("14.2", attainable)

# %%
print(f"the small product attains {48 / 208 * beta:.3g} FLOP/s")

# %% [markdown]
# ### Exercise 14.3 ★★ · When does a product reach the roof?
#
# A product of two n × n matrices has an intensity that grows with n. Write
# `ridge_size(rate, bandwidth, itemsize)`. Return the smallest whole n at which it no longer waits for
# memory: arithmetic takes at least as long as traffic.
#
# Example: rate = 100e9, bandwidth = 10e9, itemsize = 8. At n = 120 the product has 2 · 120³ = 3,456,000
# FLOPs and 3 · 120² · 8 = 345,600 bytes: just 10 a byte. The answer is 120.


# %% tags=["exercise"]
def ridge_size(rate, bandwidth, itemsize):
    """Return the smallest n at which an n × n product waits for arithmetic."""
    # BEGIN SOLUTION
    n = 1
    while 2 * n**3 / rate < 3 * n**2 * itemsize / bandwidth:
        n += 1
    return n
    # END SOLUTION


# %% tags=["check"]
check("14.3", ridge_size)

# %%
print(f"{2 * 120**3:,} FLOPs, {3 * 120**2 * 8:,} bytes")

# %% [markdown]
# ## This machine
#
# The engine measures both rates: a large float32 product, and a large copy. Each is the best of a few
# tries.

# %%
from lora_np.bench.machine import look

here = look(budget_s=0.3)
print(f"measured: R = {here.gemm_gflops:.0f} GFLOP/s, β = {here.copy_gbytes:.1f} GB/s, on {here.cores} cores")
print(f"measured: ridge at {here.gemm_gflops / here.copy_gbytes:.0f} FLOPs per byte")

# %% [markdown]
# Most machines have a ridge well above 1. It moves up every few years: arithmetic gets faster sooner than
# memory does.
#
# ## LoRA under the roof
#
# Now our layer: 512 rows, d = k = 768, rank 8, float32. The frozen product X W₀ᵀ, and lora-2 beside it:
# Z = X Aᵀ, then Z Bᵀ, times s, added. The engine counts every line. The two rates are those of the
# blackboard.

# %%
from lora_np.cost import limits, linear_costs, predicted_seconds

costs = linear_costs(512, 768, 768, 8, "float32")
rates = {"flops_per_second": R, "bytes_per_second": beta}
lora_2, frozen = costs["lora-2"].forward, costs["frozen"].forward
for line, wall in zip(lora_2, limits(lora_2, **rates), strict=True):
    print(f"{line.formula:15} {line.flops:11,} FLOPs {line.bytes_moved:9,} bytes, waits for {wall}")
more_flops = lora_2.flops / frozen.flops - 1
more_time = predicted_seconds(lora_2, **rates) / predicted_seconds(frozen, **rates) - 1
print(f"lora-2 over frozen: {more_flops:.1%} more FLOPs, {more_time:.1%} more time")
assert limits(lora_2, **rates) == ["memory", "arithmetic", "memory", "memory", "memory"]
assert more_time > 5 * more_flops

# %% [markdown]
# The adapter adds 2.2 % FLOPs and 18.4 % time. Every one of its four lines waits for memory. "Two small
# products cost nothing" is wrong by a factor of eight here, and no faster arithmetic will mend it.
#
# The picture puts the two counts side by side: FLOPs on the left, bytes on the right. Look at lora-1 and
# lora-2: the order is not the same. The sizes can be changed in [the cost
# room](app:cost?tokens=512&d=768&k=768&layer_rank=8&phase=forward).

# %% tags=["picture"]
from lora_np.cost import linear_costs
from lora_np.figures import cost as pictures
from lora_np.teach import picture

picture(pictures.work_bars(linear_costs(512, 768, 768, 8, "float32")))

# %% [markdown]
# ## Move fewer bytes
#
# The last three lines of the table are one update: Y += s Z Bᵀ, with Y (N, d), Z (N, r), B (d, r). Written
# plainly, NumPy makes Z Bᵀ, then s times it, then the sum: three arrays as large as Y.
#
# By hand, N = 2, d = 3, r = 1. Count numbers:
#
# - Z Bᵀ: reads Z and B, 2 + 3, and writes 6. That is 11.
# - s times it: reads 6, writes 6. That is 12.
# - The sum: reads 6 and 6, writes 6. That is 18. Together 41.
#
# *Fused*, in one pass: read Z, B and Y, write Y. 2 + 3 + 6 + 6 = 17. In float64: 328 bytes against 136.
#
# ### Exercise 14.4 ★★ · Plain and fused
#
# Write `update_bytes(N, d, r, itemsize)`. Return two whole numbers: the bytes moved by the plain update and
# by the fused one. The number s is not counted.
#
# Example: update_bytes(2, 3, 1, 8) is (328, 136).


# %% tags=["exercise"]
def update_bytes(N, d, r, itemsize):
    """Return the bytes moved by Y += s Z Bᵀ, plain and fused."""
    # BEGIN SOLUTION
    factors, result = N * r + d * r, N * d
    return (factors + 6 * result) * itemsize, (factors + 2 * result) * itemsize
    # END SOLUTION


# %% tags=["check"]
check("14.4", update_bytes)

# %%
size, rank = 512 * 768, 512 * 8 + 768 * 8
print("by hand", (5 + 6 * 6) * 8, (5 + 2 * 6) * 8)
print(f"our layer: {4 * (rank + 6 * size):,} and {4 * (rank + 2 * size):,} bytes")
assert sum(line.bytes_moved for line in lora_2.lines[2:]) == 4 * (rank + 6 * size)

# %% [markdown]
# For large Y the factors hardly count, and 6 against 2 is three times fewer bytes. NumPy cannot fuse: each
# operation is a call of its own. Numba can: it is one loop, and what is in it happens in one pass. The
# engine has such a kernel.

# %%
from lora_np.backends.record import REFERENCE

rows_, wide, r = 1024, 1536, 8
Z, B = (rng.normal(size=shape).astype(np.float32) for shape in ((rows_, r), (wide, r)))
buffer = np.zeros((rows_, wide), np.float32)
updates = {"plain": lambda: REFERENCE.add_low_rank(buffer, Z, B, scale=0.5)}
try:
    fused = get_backend("numba")
    small = (np.ones((2, 1)), np.ones((3, 1)))
    one, two = (way.add_low_rank(np.ones((2, 3)), *small, scale=0.5) for way in (REFERENCE, fused))
    assert np.array_equal(one, two)
    updates["fused"] = lambda: fused.add_low_rank(buffer, Z, B, scale=0.5)
except BackendError:
    print("No Numba here: the fused update is not timed.")
times = in_turns(updates, budget_s=0.3)
for name, milliseconds in times.items():
    ratio = times["plain"] / milliseconds
    print(f"measured: {name:6} {milliseconds:6.2f} ms, plain takes {ratio:.1f} times as long")

# %% [markdown]
# The counts promise a ratio of about 3. Often it is more: the plain way also asks the system for new memory
# three times, and the engine's kernel uses all cores. The counts gave the direction.
#
# ## The best FLOP is the one not done
#
# Before any machine, look at the algebra. The exact row sums of lesson 12, the long way: make G = gYᵀ X,
# multiply by W, add up. With N = 512 and d = k = 768 that is 2 N d k = 603,979,776 FLOPs for G alone. Off
# the activations: 2 N d = 786,432. That is 768 times fewer, for the same numbers.

# %%
X, W, gY = rng.normal(size=(512, 768)), rng.normal(size=(768, 768)), rng.normal(size=(512, 768))
Y = X @ W.T
roads = {"long way": lambda: ((gY.T @ X) * W).sum(axis=1), "activations": lambda: (gY * Y).sum(axis=0)}
assert np.allclose(roads["long way"](), roads["activations"](), atol=1e-8)
times = in_turns(roads, budget_s=0.3)
print(f"{2 * 512 * 768 * 768:,} FLOPs against {2 * 512 * 768:,}: {768} times as many")
ratio = times["long way"] / times["activations"]
print(f"measured: {times['long way']:.2f} ms against {times['activations']:.2f} ms: {ratio:.0f} times")

# %% [markdown]
# The clock will not show 768. You know why: the long way is one big product, at the roof; the short one
# waits for memory. It wins all the same.
#
# ### Exercise 14.5 ★★★ · A loop to take apart
#
# One base model serves many users, each with an adapter of their own. Row n of X (N, k) belongs to user
# which[n]. The adapters are stacked: B is (users, d, r) and A is (users, r, k). In loops:
#
#     for n in range(N):
#         u = which[n]
#         Y[n] = scale * (B[u] @ (A[u] @ X[n]))
#
# [adapters-mixed]
#
# Write `many_adapters(X, which, B, A, scale)` without a Python loop over the rows. Return Y (N, d), the
# increments alone, without the frozen product. (The check cannot see your loops. You can.)
#
# Example: one user with B = [[[2]]], A = [[[3]]], and X = [[1], [10]], which = [0, 0], scale = 0.5 gives
# [[3], [30]].


# %% tags=["exercise"]
def many_adapters(X, which, B, A, scale):
    """Return each row's increment by its own adapter (N, d)."""
    # BEGIN SOLUTION
    Z = np.einsum("nk,nrk->nr", X, A[which])  # A[which] is (N, r, k)
    return scale * np.einsum("nr,ndr->nd", Z, B[which])
    # END SOLUTION


# %% tags=["check"]
check("14.5", many_adapters)

# %% [markdown]
# ## A GPU, and the way to it
#
# A GPU has a much higher R, and a higher β of its own. But the arrays must get there, over a link that is
# slower than memory. Blackboard: CPU 100 GFLOP/s, GPU 10,000 GFLOP/s, link 10 GB/s. Count arithmetic only.
#
# - The large product: the CPU takes 20 ms. The GPU takes 0.2 ms, and the three matrices take 2.4 ms on the
#   link. 2.6 against 20: send it.
# - Its first row alone, (1, 1000) by (1000, 1000): 2,000,000 FLOPs take the CPU 0.02 ms. The link takes 0.8
#   ms. Keep it.
#
# Hence the first rule of GPU code: send once, stay there. Training does: the weights never leave.

# %%
one_row = (1000 + 1000 * 1000 + 1000) * 8
cpu, gpu, link = 2e9 / 100e9, 2e9 / 10_000e9, 24e6 / 10e9
print(f"large product: CPU {1e3 * cpu:.0f} ms, GPU {1e3 * gpu:.1f} ms, link {1e3 * link:.1f} ms")
print(f"GPU and link together {1e3 * (gpu + link):.1f} ms; the GPU does {10_000:,} GFLOP/s")
print(
    f"one row: {2 * 1000 * 1000:,} FLOPs, CPU {2e6 / 100e9 * 1e3:.2f} ms, link {one_row / 10e9 * 1e3:.1f} ms"
)

# %% [markdown]
# ### Exercise 14.6 ★★ · Send it?
#
# Write `worth_sending(flops, bytes_sent, cpu_rate, gpu_rate, link)`. Rates are FLOP/s, link is bytes per
# second. Return True if sending the bytes and computing on the GPU takes less time than computing on the
# CPU, else False.
#
# Example: worth_sending(2e9, 24e6, 100e9, 10_000e9, 10e9) is True, as above.


# %% tags=["exercise"]
def worth_sending(flops, bytes_sent, cpu_rate, gpu_rate, link):
    """Return whether the GPU, link included, takes less time than the CPU."""
    # BEGIN SOLUTION
    return bytes_sent / link + flops / gpu_rate < flops / cpu_rate
    # END SOLUTION


# %% tags=["check"]
check("14.6", worth_sending)

# %% [markdown]
# ## Exit quiz
#
# **1.** An operation has an intensity of 0.2, and the ridge is at 10. What makes it faster?
#
# - a) a processor with twice the FLOP/s
# - b) moving fewer bytes
# - c) fewer FLOPs on the same bytes
# - d) nothing
#
# **2.** You add two matrices, of 100 × 100 and then of 1000 × 1000. What happens to the intensity?
#
# - a) it grows tenfold, as in a product
# - b) it grows a hundredfold
# - c) it stays: each number is used once, whatever the size
# - d) it falls
#
# **3.** lora-2 adds 2 % FLOPs to a layer. How much time does it add?
#
# - a) 2 %
# - b) less than 2 %, the products are so small
# - c) half, for the rank is low
# - d) it cannot be said from FLOPs: its thin products wait for memory
#
# **4.** Why can Numba fuse Y += s Z Bᵀ, and NumPy not?
#
# - a) in NumPy each operation is a call that reads and writes whole arrays; a compiled loop does all of it
#   to one number before it goes on
# - b) Numba uses the GPU
# - c) Numba does fewer FLOPs
# - d) Numba rounds less


# %% tags=["exercise"]
def quiz():
    """Return your four letters."""
    # BEGIN SOLUTION
    return "b", "c", "d", "a"
    # END SOLUTION


# %% tags=["check"]
check("14.quiz", quiz)

# %% [markdown] tags=["solution"]
# **1.** b: left of the ridge, memory is what it waits for. **2.** c: n² FLOPs on 3 n² numbers. **3.** d:
# here 2.2 % more FLOPs took 18.4 % more time. **4.** a: same FLOPs, fewer bytes.

# %% [markdown]
# ## Where next
#
# Fast code is worth nothing if it is wrong. [Lesson 15](lesson:15) turns you into the one who decides: find
# the planted bug, and certify a library.
#
# In the app: press *Measure* in [the cost room](app:cost?tokens=4096&d=768&k=768&layer_rank=8&phase=step)
# and compare the floor with the clock. Then try [one row, as in chat](app:cost?tokens=1&phase=forward):
# which wall does it touch?
