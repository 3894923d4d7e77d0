"""Exercises of lesson 14, make it fast: counts of bytes and FLOPs, never times.  Floor 6.

Long, because every exercise stands with its suspects.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.adapters.adapter import LoraAdapter
from lora_np.adapters.mixed import forward_mixed
from lora_np.cost.linear import Line, linear_costs
from lora_np.cost.roofline import predicted_seconds
from lora_np.lora import LoraParams
from lora_np.teach.exercise import Exercise, Quiz, Suspect

Given = dict[str, Any]

DTYPES = {2: "float16", 4: "float32", 8: "float64"}


# ---- what a product costs: 14.1 ------------------------------------------------------------------------------


def _given_product(rng: np.random.Generator) -> Iterator[Given]:
    yield {"m": 2, "n": 3, "p": 4, "itemsize": 8}
    for itemsize in (4, 2, 8, 4):
        m, n, p = (int(size) for size in rng.choice(np.arange(2, 40), 3, replace=False))
        yield {"m": m, "n": n, "p": p, "itemsize": itemsize}
    yield {"m": int(rng.integers(5, 9)), "n": 1, "p": int(rng.integers(2, 5)), "itemsize": 8}


def _expected_product(m: int, n: int, p: int, itemsize: int) -> tuple[int, int]:
    line = linear_costs(m, p, n, 1, DTYPES[itemsize])["frozen"].forward.lines[0]
    return line.flops, line.bytes_moved


def _moved(m: int, n: int, p: int) -> int:
    return m * n + n * p + m * p


PRODUCT = Exercise(
    id="14.1",
    title="What a product costs",
    stars=1,
    signature="product_cost(m, n, p, itemsize)",
    returns=("flops", "bytes_moved"),
    given=_given_product,
    expected=_expected_product,
    hints=(
        "Count the numbers of the result, and the multiplications and additions behind each; then the numbers of all "
        "three matrices.",
        "The result has m · p numbers, each takes n multiplications and n additions. Bytes are numbers times itemsize.",
    ),
    equations=("cost-product",),
    suspects=(
        Suspect(
            "EightAlways",
            "8 for itemsize: float64 has 8 bytes, other types have fewer",
            lambda m, n, p, _b: (2 * m * n * p, 8 * _moved(m, n, p)),
        ),
        Suspect(
            "ItemsizeOnOne",
            "itemsize multiplies the operands only: brackets around all three matrices",
            lambda m, n, p, b: (2 * m * n * p, (m * n + n * p) * b + m * p),
        ),
        Suspect(
            "ItemsizeOnOne",
            "itemsize multiplies the last matrix only: brackets around all three matrices",
            lambda m, n, p, b: (2 * m * n * p, m * n + n * p + m * p * b),
        ),
        Suspect(
            "ProductForSum",
            "the sizes of the three matrices are multiplied: add them",
            lambda m, n, p, b: (2 * m * n * p, m * n * n * p * m * p * b),
        ),
        Suspect(
            "ResultTwice",
            "the result is moved twice: it is written once, and not read",
            lambda m, n, p, b: (2 * m * n * p, (_moved(m, n, p) + m * p) * b),
        ),
        Suspect(
            "MovedTwice",
            "everything is moved twice: operands are only read, the result is only written",
            lambda m, n, p, b: (2 * m * n * p, 2 * _moved(m, n, p) * b),
        ),
        Suspect(
            "HalfCounted",
            "the FLOPs are half of what they must be: a multiplication and an addition are two",
            lambda m, n, p, b: (m * n * p, b * _moved(m, n, p)),
        ),
        Suspect(
            "FirstNotCounted",
            "the first addition is left out: by convention it adds to zero and counts, 2 m n p in all",
            lambda m, n, p, b: (m * p * (2 * n - 1), b * _moved(m, n, p)),
        ),
        Suspect(
            "ItemsizeMissing",
            "numbers for bytes: multiply by itemsize",
            lambda m, n, p, _b: (2 * m * n * p, _moved(m, n, p)),
        ),
        Suspect(
            "ResultMissing",
            "the result is left out of the bytes: it is written once",
            lambda m, n, p, b: (2 * m * n * p, b * (m * n + n * p)),
        ),
        Suspect(
            "AsInExample",
            "this is the answer of the example, whatever the sizes: use m, n, p and itemsize",
            lambda _m, _n, _p, _b: (48, 208),
        ),
        Suspect(
            "ResultOnly",
            "only the result is in the bytes: both operands are read",
            lambda m, n, p, b: (2 * m * n * p, b * m * p),
        ),
        Suspect(
            "NothingReused",
            "a byte count without reuse: every operand is read once, not once for every product",
            lambda m, n, p, b: (2 * m * n * p, b * (2 * m * n * p + m * p)),
        ),
        Suspect(
            "BytesPerFlop",
            "itemsize multiplies the FLOPs, too: they are operations, not bytes",
            lambda m, n, p, b: (2 * m * n * p * b, b * _moved(m, n, p)),
        ),
        Suspect(
            "WrongShapes",
            "the inner size is that of the result: an (m, n) by an (n, p) matrix gives m · p numbers",
            lambda m, n, p, b: (2 * m * n * p, b * (m * n + n * p + m * n)),
        ),
        Suspect(
            "Bits",
            "bits for bytes: no factor of 8",
            lambda m, n, p, b: (2 * m * n * p, 8 * b * _moved(m, n, p)),
        ),
        Suspect(
            "OutputsSwapped",
            "the two are swapped: first the FLOPs, then the bytes",
            lambda m, n, p, b: (b * _moved(m, n, p), 2 * m * n * p),
        ),
    ),
)


# ---- under the roof: 14.2 and 14.3 ---------------------------------------------------------------------------


def _given_roof(rng: np.random.Generator) -> Iterator[Given]:
    yield {"flops": 48.0, "bytes_moved": 208.0, "rate": 100e9, "bandwidth": 10e9}
    for ridge, share in (
        (4, 0.1),
        (25, 8.0),
        (25, 0.7),
        (4, 1.5),
        (12, 30.0),
    ):  # intensity as a share of the ridge
        bandwidth, bytes_moved = 1e9 * float(rng.integers(5, 40)), 1e3 * float(rng.integers(10, 900))
        flops = round(share * bytes_moved * ridge, -2)
        yield {"flops": flops, "bytes_moved": bytes_moved, "rate": ridge * bandwidth, "bandwidth": bandwidth}


def _expected_roof(flops: float, bytes_moved: float, rate: float, bandwidth: float) -> float:
    line = Line("", flops, bytes_moved, 0)  # type: ignore[arg-type]
    return flops / predicted_seconds([line], flops_per_second=rate, bytes_per_second=bandwidth)


ATTAINABLE = Exercise(
    id="14.2",
    title="Under the roof",
    stars=1,
    signature="attainable(flops, bytes_moved, rate, bandwidth)",
    returns=("rate",),
    given=_given_roof,
    expected=_expected_roof,
    hints=(
        "The slope or the flat roof, whichever is lower at this intensity.",
        "The intensity is flops / bytes_moved. On the slope one attains intensity · bandwidth; on the roof, rate.",
    ),
    equations=("cost-roofline",),
    suspects=(
        Suspect(
            "RidgeOfExample",
            "the ridge of the example, 10, is used for every machine: it lies at rate / bandwidth",
            lambda f, m, R, beta: R if f / m >= 10 else f / m * beta,
        ),
        Suspect(
            "RoofMissing",
            "the slope goes through the roof: never more than the rate R",
            lambda f, m, _R, beta: f / m * beta,
        ),
        Suspect(
            "SlopeMissing", "the roof alone: while memory is too slow it is less", lambda _f, _m, R, _beta: R
        ),
        Suspect(
            "MaxForMin",
            "the higher of the two: the slower one decides, so take the lower",
            lambda f, m, R, beta: max(R, f / m * beta),
        ),
        Suspect(
            "TimeReturned",
            "a tiny number: a time, or the intensity divided by β. FLOPs divided by the longer time are the rate",
            lambda f, m, R, beta: max(f / R, m / beta),
        ),
        Suspect(
            "IntensityReturned",
            "this is the intensity, FLOPs per byte: times β it is a rate",
            lambda f, m, _R, _beta: f / m,
        ),
        Suspect(
            "IntensityInverted",
            "bytes per FLOP for FLOPs per byte",
            lambda f, m, R, beta: min(R, m / f * beta),
        ),
        Suspect(
            "WholeDivision",
            "the intensity is cut to a whole number: divide with /, not with //",
            lambda f, m, R, beta: min(R, f // m * beta),
        ),
        Suspect(
            "TimesAdded",
            "the two times are added: work and traffic overlap, so the longer one counts alone",
            lambda f, m, R, beta: f / (f / R + m / beta),
        ),
        Suspect(
            "IntensityMissing",
            "bytes per second compared with FLOPs per second: multiply the bandwidth by the intensity",
            lambda _f, _m, R, beta: min(R, beta),
        ),
        Suspect(
            "BytesAttained",
            "this is the bytes per second that are attained: the FLOPs are asked for",
            lambda f, m, R, beta: m / max(f / R, m / beta),
        ),
    ),
)


def _given_ridge(rng: np.random.Generator) -> Iterator[Given]:
    """Draw machines; where the ridge is a whole number it is one exactly, elsewhere it is far from one."""
    for rate, bandwidth, itemsize in ((100, 10, 8), (150, 20, 4), (3, 4, 8)):
        yield {"rate": rate * 10**9, "bandwidth": bandwidth * 10**9, "itemsize": itemsize}
    for itemsize, least in ((8, 0.1), (4, 0.6), (2, 0.1)):  # nearer to the number below, or above
        exact = 0.0
        while not least < exact % 1 < least + 0.3:
            rate, bandwidth = int(rng.integers(60, 400)), int(rng.integers(5, 30))
            exact = 1.5 * itemsize * rate / bandwidth
        yield {"rate": rate * 10**9, "bandwidth": bandwidth * 10**9, "itemsize": itemsize}


def _expected_ridge(rate: int, bandwidth: int, itemsize: int) -> int:
    """Divide in whole numbers: 2 n³ / R >= 3 n² b / β  ⇔  n >= 3 b R / (2 β)."""
    return -(-3 * itemsize * rate // (2 * bandwidth))


def _ridge(rate: int, bandwidth: int, itemsize: float, *, factor: float = 1.5) -> float:
    return factor * itemsize * rate / bandwidth


RIDGE = Exercise(
    id="14.3",
    title="When does a product reach the roof?",
    stars=2,
    signature="ridge_size(rate, bandwidth, itemsize)",
    returns=("n",),
    given=_given_ridge,
    expected=_expected_ridge,
    hints=(
        "2 n³ FLOPs at the rate, 3 n² numbers of itemsize bytes at the bandwidth: from which n is the first longer?",
        "2 n³ / rate >= 3 n² · itemsize / bandwidth. Divide by n², solve for n, go up to a whole number.",
    ),
    equations=("cost-roofline", "cost-product"),
    suspects=(
        Suspect(
            "Rounded",
            "rounded to the nearest whole number: below the ridge it still waits for memory, so go up",
            lambda R, beta, b: round(_ridge(R, beta, b)),
        ),
        Suspect(
            "AsInExample", "this is the answer of the example, for every machine", lambda _R, _beta, _b: 120
        ),
        Suspect(
            "EightAlways",
            "8 for itemsize: float64 has 8 bytes, other types have fewer",
            lambda R, beta, _b: math.ceil(_ridge(R, beta, 8)),
        ),
        Suspect(
            "RoundedDown",
            "rounded down, so the product still waits for memory: go up to the next whole number",
            lambda R, beta, b: max(1, math.floor(_ridge(R, beta, b))),
        ),
        Suspect(
            "NotWhole",
            "not a whole number: the smallest whole n is asked for",
            lambda R, beta, b: _ridge(R, beta, b),
        ),
        Suspect(
            "OneTooMany",
            "one too many where the two times are equal: equal counts as reached",
            lambda R, beta, b: math.floor(_ridge(R, beta, b)) + 1,
        ),
        Suspect(
            "ItemsizeMissing",
            "numbers for bytes: multiply by itemsize",
            lambda R, beta, _b: math.ceil(_ridge(R, beta, 1)),
        ),
        Suspect(
            "OneMatrix",
            "only one matrix is moved: two are read and one is written, 3 n² numbers",
            lambda R, beta, b: math.ceil(_ridge(R, beta, b, factor=0.5)),
        ),
        Suspect(
            "ResultMissing",
            "the result is not in the bytes: two are read and one is written, 3 n² numbers",
            lambda R, beta, b: math.ceil(_ridge(R, beta, b, factor=1.0)),
        ),
        Suspect(
            "HalfCounted",
            "n³ FLOPs are half of a product's: a multiplication and an addition are two",
            lambda R, beta, b: math.ceil(_ridge(R, beta, b, factor=3.0)),
        ),
        Suspect(
            "RidgeReturned",
            "this is the ridge itself, R / β in FLOPs per byte: at which n has a product this intensity?",
            lambda R, beta, _b: math.ceil(R / beta),
        ),
        Suspect(
            "RidgeReturned",
            "this is the ridge itself, R / β in FLOPs per byte: at which n has a product this intensity?",
            lambda R, beta, _b: R / beta,
        ),
        Suspect(
            "OneAlways",
            "at n = 1 the condition is read the other way round: arithmetic must take at least as long as traffic",
            lambda _R, _beta, _b: 1,
        ),
    ),
)


# ---- plain and fused: 14.4 -----------------------------------------------------------------------------------


def _given_update(rng: np.random.Generator) -> Iterator[Given]:
    yield {"N": 2, "d": 3, "r": 1, "itemsize": 8}
    for itemsize in (4, 2, 8, 4):
        N, d = (int(size) for size in rng.choice(np.arange(6, 60), 2, replace=False))
        yield {"N": N, "d": d, "r": int(rng.integers(2, 6)), "itemsize": itemsize}


def _expected_update(N: int, d: int, r: int, itemsize: int) -> tuple[int, int]:
    plain = sum(
        line.bytes_moved for line in linear_costs(N, d, 1, r, DTYPES[itemsize])["lora-2"].forward.lines[2:]
    )
    return plain, plain - 4 * N * d * itemsize


def _update(N: int, d: int, r: int, b: int, plain: int, fused: int) -> tuple[int, int]:
    """Move the factors and so many times Y, plainly and fused."""
    return (r * (N + d) + plain * N * d) * b, (r * (N + d) + fused * N * d) * b


UPDATE = Exercise(
    id="14.4",
    title="Plain and fused",
    stars=2,
    signature="update_bytes(N, d, r, itemsize)",
    returns=("plain", "fused"),
    given=_given_update,
    expected=_expected_update,
    hints=(
        "Count for each array how often it is read and how often it is written; numbers first, then bytes.",
        "Plain: the product writes N d numbers, the scaling reads and writes N d, the sum reads 2 N d and writes N d; "
        "the factors are read once. Fused: only Y is read and written.",
    ),
    equations=("cost-product", "lora-2"),
    suspects=(
        Suspect(
            "AsInExample",
            "41 and 17 numbers are those of the example: use N, d and r",
            lambda _N, _d, _r, b: (41 * b, 17 * b),
        ),
        Suspect(
            "ReadTwice",
            "the fused pass moves Y three times: it reads it once and writes it once",
            lambda N, d, r, b: _update(N, d, r, b, 6, 3),
        ),
        Suspect(
            "ProductOnly",
            "the plain way is its product alone here: scaling and adding are passes of their own",
            lambda N, d, r, b: _update(N, d, r, b, 1, 2),
        ),
        Suspect(
            "FactorsMultiplied",
            "the factors have N r and d r numbers, together r (N + d), not N d r",
            lambda N, d, r, b: ((N * r * d + 6 * N * d) * b, (N * r * d + 2 * N * d) * b),
        ),
        Suspect(
            "ThirdOfPlain",
            "a third of the plain way: only Y is moved less often, the factors are read once in both",
            lambda N, d, r, b: (_update(N, d, r, b, 6, 2)[0], _update(N, d, r, b, 6, 2)[0] / 3),
        ),
        Suspect(
            "ReadMissing",
            "the fused pass reads Y as well as writing it: += needs the old value",
            lambda N, d, r, b: _update(N, d, r, b, 6, 1),
        ),
        Suspect(
            "ScalingMissing",
            "the plain way scales in a pass of its own: it reads and writes N d numbers",
            lambda N, d, r, b: _update(N, d, r, b, 4, 2),
        ),
        Suspect(
            "SumMissing",
            "the plain way adds in a pass of its own: it reads 2 N d numbers and writes N d",
            lambda N, d, r, b: _update(N, d, r, b, 3, 2),
        ),
        Suspect(
            "WritesOnly",
            "only what is written counts here: what is read is moved as well",
            lambda N, d, r, b: (3 * N * d * b, N * d * b),
        ),
        Suspect(
            "WritesOnly",
            "each array as large as Y is counted once: it is written by one operation and read by the next",
            lambda N, d, r, b: _update(N, d, r, b, 3, 1),
        ),
        Suspect(
            "OneReadMissing",
            "the sum reads two arrays, s Z Bᵀ and the old Y, and writes a third",
            lambda N, d, r, b: _update(N, d, r, b, 5, 2),
        ),
        Suspect(
            "FactorsMissing",
            "the factors are left out: Z and B are read once, r (N + d) numbers",
            lambda N, d, _r, b: (6 * N * d * b, 2 * N * d * b),
        ),
        Suspect(
            "ItemsizeMissing",
            "numbers for bytes: multiply by itemsize",
            lambda N, d, r, _b: _update(N, d, r, 1, 6, 2),
        ),
        Suspect(
            "OutputsSwapped",
            "the two are swapped: first the plain update, then the fused one",
            lambda N, d, r, b: _update(N, d, r, b, 6, 2)[::-1],
        ),
        Suspect(
            "ItemsizeOnOne",
            "itemsize multiplies the last product only: brackets around the sum",
            lambda N, d, r, b: (r * (N + d) + 6 * N * d * b, r * (N + d) + 2 * N * d * b),
        ),
    ),
)


# ---- many adapters: 14.5 -------------------------------------------------------------------------------------


def _given_many(rng: np.random.Generator) -> Iterator[Given]:
    for N, d, k, r, users, scale in (
        (2, 1, 1, 1, 1, 0.5),
        (4, 3, 2, 1, 2, 2.0),
        (5, 2, 4, 3, 3, 1.5),
        (3, 4, 5, 2, 7, 0.25),
        (7, 5, 3, 2, 4, 3.0),
    ):
        which = rng.integers(0, users, N)
        which[0], which[-1] = users - 1, 0  # so that the first row's user is not the first user
        yield {
            "X": rng.normal(size=(N, k)),
            "which": which,
            "B": rng.normal(size=(users, d, r)),
            "A": rng.normal(size=(users, r, k)),
            "scale": scale,
        }


def _expected_many(X: Array, which: Array, B: Array, A: Array, scale: float) -> Array:
    adapters = {
        str(user): LoraAdapter(LoraParams(b, a), scale) for user, (b, a) in enumerate(zip(B, A, strict=True))
    }
    names = [str(user) for user in which]
    return forward_mixed(X, np.zeros((B.shape[1], X.shape[1])), adapters, names)[0]


def _many(X: Array, which: Array, B: Array, A: Array, scale: float) -> Array:
    return scale * np.einsum("nr,ndr->nd", np.einsum("nk,nrk->nr", X, A[which]), B[which])


MANY = Exercise(
    id="14.5",
    title="A loop to take apart",
    stars=3,
    signature="many_adapters(X, which, B, A, scale)",
    returns=("Y",),
    given=_given_many,
    expected=_expected_many,
    hints=(
        "Two steps, each for all rows at once: Z (N, r) from X and the rows' A, then Y (N, d) from Z and the rows' B.",
        "A[which] has shape (N, r, k). np.einsum('nk,nrk->nr', X, A[which]) multiplies row by row.",
    ),
    equations=("adapters-mixed", "lora-2"),
    suspects=(
        Suspect(
            "AllPairs",
            "X @ A[which]ᵀ multiplies every row with every row's adapter: each row must meet its own only",
            lambda X, w, B, A, s: s * X @ np.swapaxes(A[w], 1, 2) @ np.swapaxes(B[w], 1, 2),
        ),
        Suspect(
            "OneFactorPicked",
            "A is picked by which, but one B serves every row",
            lambda X, w, B, A, s: (
                s * np.einsum("nr,ndr->nd", np.einsum("nk,nrk->nr", X, A[w]), B[w * 0 + w[0]])
            ),
        ),
        Suspect(
            "FirstUserOnly",
            "only the rows of the first user are there: is the return inside the loop?",
            lambda X, w, B, A, s: _many(X, w, B, A, s) * (w == 0)[:, None],
        ),
        Suspect(
            "AxisLeft",
            "an axis of length 1 is left at the end: take [:, :, 0]",
            lambda X, w, B, A, s: _many(X, w, B, A, s)[:, :, None],
        ),
        Suspect("ScaleMissing", "the scale is left out", lambda X, w, B, A, _s: _many(X, w, B, A, 1.0)),
        Suspect("ScaleTwice", "the scale is there twice", lambda X, w, B, A, s: _many(X, w, B, A, s**2)),
        Suspect(
            "FirstForAll",
            "the first user's adapter serves every row: pick B[which] and A[which]",
            lambda X, w, B, A, s: _many(X, w * 0, B, A, s),
        ),
        Suspect(
            "FirstRowForAll",
            "the adapter of row 0 serves every row: each row has its own",
            lambda X, w, B, A, s: _many(X, w * 0 + w[0], B, A, s),
        ),
        Suspect(
            "OneFactorPicked",
            "A is picked by which, but B is not",
            lambda X, w, B, A, s: s * np.einsum("nr,ndr->nd", np.einsum("nk,nrk->nr", X, A[w]), B[w * 0]),
        ),
        Suspect(
            "AllAdded",
            "the adapters of all users are added for every row: each row has its own one",
            lambda X, _w, B, A, s: s * np.einsum("nk,urk,udr->nd", X, A, B),
        ),
        Suspect(
            "AllAdded",
            "the adapters of all rows are added for every row: in einsum give the row the same letter everywhere",
            lambda X, w, B, A, s: s * np.einsum("nk,mrk,mdr->nd", X, A[w], B[w]),
        ),
        Suspect(
            "RowsMixed",
            "rows are added up: the letter of the row must stand on the right of ->",
            lambda X, w, B, A, s: s * np.einsum("nk,nrk,ndr->d", X, A[w], B[w]),
        ),
        Suspect(
            "AllPairs",
            "every row is combined with every row's adapter: in einsum give the row the same letter everywhere",
            lambda X, w, B, A, s: s * np.einsum("nk,mrk,mdr->nmd", X, A[w], B[w]),
        ),
        Suspect(
            "SortedRows",
            "the rows come back in another order: sorted by user; put them back",
            lambda X, w, B, A, s: _many(X, w, B, A, s)[np.argsort(w, kind="stable")],
        ),
    ),
)


# ---- send it?: 14.6 ------------------------------------------------------------------------------------------

SECONDS = (  # on the CPU, on the GPU, on the link
    (20.0, 0.2, 2.4),
    (0.02, 0.0002, 0.8),
    (10.0, 6.0, 5.0),
    (10.0, 3.0, 5.0),
    (5.0, 9.0, 1.0),
    (9.0, 8.0, 0.5),
    (10.0, 1.0, 9.5),
    (6.0, 0.1, 5.0),
)


def _given_send(rng: np.random.Generator) -> Iterator[Given]:
    for cpu, gpu, link in SECONDS:
        flops, bytes_sent = 1e9 * int(rng.integers(1, 20)), 1e6 * int(rng.integers(1, 20))
        yield {
            "flops": flops,
            "bytes_sent": bytes_sent,
            "cpu_rate": _short(flops / cpu),
            "gpu_rate": _short(flops / gpu),
            "link": _short(bytes_sent / link),
        }


def _short(x: float) -> float:
    """Keep three digits: easier to read where a case is shown."""
    return float(f"{x:.3g}")


def _times(f: float, m: float, cpu: float, gpu: float, link: float) -> tuple[float, float, float]:
    return f / cpu, f / gpu, m / link


def _expected_send(flops: float, bytes_sent: float, cpu_rate: float, gpu_rate: float, link: float) -> bool:
    """Sum two lines that follow one another: the link does no arithmetic, and the GPU moves nothing."""
    sent, computed = Line("", 0, bytes_sent, 0), Line("", flops, 0, 0)  # type: ignore[arg-type]
    gpu = predicted_seconds([sent, computed], flops_per_second=gpu_rate, bytes_per_second=link)
    return gpu < predicted_seconds([computed], flops_per_second=cpu_rate, bytes_per_second=link)


SEND = Exercise(
    id="14.6",
    title="Send it?",
    stars=2,
    signature="worth_sending(flops, bytes_sent, cpu_rate, gpu_rate, link)",
    returns=("worth",),
    given=_given_send,
    expected=_expected_send,
    hints=(
        "Three times: on the link, on the GPU, on the CPU. Compare the first two together with the third.",
        "A time is an amount over a rate: bytes_sent / link + flops / gpu_rate against flops / cpu_rate.",
    ),
    equations=("cost-roofline",),
    suspects=(
        Suspect(
            "LinkTwice",
            "the bytes are sent twice: bytes_sent is all that goes over the link",
            lambda *given: 2 * _times(*given)[2] + _times(*given)[1] < _times(*given)[0],
        ),
        Suspect(
            "TimeReturned",
            "this is a time that is saved: return whether it is positive, True or False",
            lambda *given: _times(*given)[0] - _times(*given)[1] - _times(*given)[2],
        ),
        Suspect(
            "Inverted",
            "True and False are swapped: True means send it",
            lambda *given: not _expected_send(*given),
        ),
        Suspect(
            "LinkMissing",
            "the link is left out: the arrays must get there first",
            lambda *given: _times(*given)[1] < _times(*given)[0],
        ),
        Suspect(
            "LinkOnly",
            "the time on the GPU is left out: it computes after the arrays have arrived",
            lambda *given: _times(*given)[2] < _times(*given)[0],
        ),
        Suspect(
            "MaxForSum",
            "the longer of link and GPU counts here: one follows the other, so add them",
            lambda *given: max(_times(*given)[1:]) < _times(*given)[0],
        ),
        Suspect("AlwaysSent", "always True: a GPU does not always win", lambda *_given: True),
        Suspect("NeverSent", "always False: a GPU sometimes wins", lambda *_given: False),
        Suspect(
            "TimeReturned",
            "this is a time: compare it with the time on the CPU, and return True or False",
            lambda *given: _times(*given)[1] + _times(*given)[2],
        ),
        Suspect(
            "Multiplied",
            "amounts are multiplied by rates, or rates compared: a time is an amount divided by a rate",
            lambda f, m, cpu, gpu, link: m * link + f * gpu < f * cpu,
        ),
    ),
)


QUIZ = Quiz(
    id="14.quiz",
    answers=("ca9b04195dff", "8a20cfa0ec1c", "1b4f11ab4b27", "8ee993484b32"),
    again=("The roofline", "Count before you time", "LoRA under the roof", "Move fewer bytes"),
)

EXERCISES = (PRODUCT, ATTAINABLE, RIDGE, UPDATE, MANY, SEND, QUIZ)
