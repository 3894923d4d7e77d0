"""LoRA as an optimizer: one step, random factors, sums of strips, scales and trades; each computed once a state."""

import streamlit as st

from lora_np import optim
from lora_np.figures import optimizer_scene as scenes
from lora_np.figures import trade_scene as trades
from lora_np.figures.optimizer_scene import SIDES, SMALL, WANTED, AdditiveScene, RandomScene, UpdateScene
from lora_np.figures.trade_scene import TRADES, WIDTH, ScaleScene, TradeScene
from lora_np.gradient_view import (
    adam_step,
    additive_gauge,
    additive_gradient,
    additive_weight,
    effective_gradient,
    expected_random_update,
    random_projection_step,
    second_order_update,
    sgd_step,
)
from lora_np.gradient_view.random_projection import LAWS
from lora_np.lora import init, project_gradient, scaling

LOOKS = ["one step", "random factors", "sums of strips", "α and the rate"]
RANKS = [1, 2, 4, 8, 16]
STRIPS = [1, 2, 4]  # ranks that divide both sides of the small layer
ALPHAS = [1, 2, 4, 8, 16, 32, 64]
STEPS = [0, 1, 5, 10]
FACTORS = [2, 3, 4]  # of α in a trade: more of it, and a trade that is not exact diverges
CODE = {
    "orders": (second_order_update, sgd_step),
    "cosine": (effective_gradient, scenes.moment),
    "mean": (random_projection_step, expected_random_update),
    "spectra": (random_projection_step,),
    "increments": (additive_weight, additive_gradient),
    "directions": (scenes.reach, init),
    "gauge": (additive_gauge,),
    "scales": (scaling, project_gradient),
    "trades": (trades.run, adam_step),
    "losses": (trades.run, optim.adam_step),
}
__all__ = ["CODE", "LAWS", "SIDES", "SMALL", "TRADES", "WANTED", "WIDTH"]

ORDERS = """
import numpy as np
from lora_np.figures.optimizer_scene import RATES, moment
from lora_np.gradient_view import first_order_update, second_order_update

gW, p, s = moment(rank, alpha, steps=steps)  # full gradient, factors, scale
first = [first_order_update(gW, p, scale=s, lr=lr) for lr in RATES]
second = [second_order_update(gW, p, scale=s, lr=lr) for lr in RATES]
numbers = {
    "rate": list(RATES),
    "first order": [float(np.linalg.norm(update)) for update in first],
    "second order": [float(np.linalg.norm(update)) for update in second],
}
print(numbers)
"""
COSINE = """
import numpy as np
from lora_np.figures.optimizer_scene import RANKS, SEEDS, moment
from lora_np.gradient_view import effective_gradient

means = []
for rank in RANKS:
    cosines = []
    for seed in range(SEEDS):
        gW, p, s = moment(rank, alpha, steps=steps, seed=seed)
        E = effective_gradient(gW, p, scale=s)
        cosines.append(float(np.sum(gW * E) / (np.linalg.norm(gW) * np.linalg.norm(E))))
    means.append(sum(cosines) / SEEDS)
numbers = {"rank": list(RANKS), "mean cosine": means}
print(numbers)
"""
MEAN = """
import numpy as np
from lora_np.figures.examples import example_matrix
from lora_np.gradient_view import expected_random_update, random_projection_step

gW, rng = example_matrix("decay", 24, 16), np.random.default_rng([0, rank])
expected, total, zero = expected_random_update(gW, lr=1.0, rank=rank), np.zeros((24, 16)), np.zeros((24, 16))
numbers = {"n": [], "measured": []}
for n in range(1, 257):
    total = total + random_projection_step(rng, zero, gW, lr=1.0, rank=rank, law=law)
    if n & (n - 1) == 0:  # a power of two
        numbers["n"].append(n)
        numbers["measured"].append(float(np.linalg.norm(total / n - expected) / np.linalg.norm(expected)))
print(numbers)
"""
SPECTRA = """
import numpy as np
from lora_np.figures.examples import example_matrix
from lora_np.gradient_view import expected_random_update

gW = example_matrix("decay", 24, 16)
expected = expected_random_update(gW, lr=1.0, rank=rank)
numbers = {"i": list(range(1, 17)), "full gradient × 2r": np.linalg.svd(expected, compute_uv=False).tolist()}
print(numbers)
"""
INCREMENTS = """
import numpy as np
from lora_np import init, optim
from lora_np.figures.optimizer_scene import SMALL, wanted_increment
from lora_np.gradient_view import additive_gradient, additive_init, additive_weight, sgd_step

D, (d, k) = wanted_increment(wanted), SMALL
p, q = init(np.random.default_rng(0), d, k, rank), additive_init(d, k, rank)
product = total = np.zeros(SMALL)
for _ in range(steps):
    product, p = sgd_step(product, p, product - D, scale=1.0, lr=0.4)
    g = additive_gradient(total - D, q, scale=1.0)
    q, _ = optim.sgd_step(q, g, optim.sgd_init(q), lr=rank / (d + k))
    total = additive_weight(np.zeros(SMALL), q, scale=1.0)
numbers = {"entry": [float(x) for M in (D, product, total) for x in M.ravel()]}
print(numbers)
"""
DIRECTIONS = """
from lora_np.figures.optimizer_scene import additive_scene

scene = additive_scene(rank, wanted=wanted, steps=steps, shift=0.0)
numbers = {
    "strips": list(scene.directions),
    "directions reached": [reached for _, reached in scene.directions.values()],
}
print(numbers)
"""
GAUGE = """
from lora_np.figures.optimizer_scene import additive_scene

scene = additive_scene(rank, wanted=wanted, steps=steps, shift=shift)
numbers = {"value": [float(x) for strip in scene.strips.values() for x in strip]}
print(numbers)
"""
SCALES = """
import numpy as np
from lora_np import init, project_gradient, scaling
from lora_np.figures.examples import example_matrix
from lora_np.figures.trade_scene import RANKS

gW, numbers = example_matrix("random", 64, 64), {"rank": list(RANKS)}
for rule in ("α / r", "α / √r"):
    sizes = []
    for rank in RANKS:
        s = scaling(alpha, rank, use_rslora="√" in rule)
        starts = [init(np.random.default_rng(seed), 64, 64, rank) for seed in range(8)]
        sizes.append(sum(float(np.linalg.norm(project_gradient(gW, p, scale=s).B)) for p in starts) / 8)
    numbers[f"‖g_B‖ under {rule}"] = sizes
print(numbers)
"""
GAPS = """
from lora_np.figures.trade_scene import TRADES, trade_scene

gaps = trade_scene(rank, alpha, c=c).gaps
numbers = {"divided": list(TRADES), "SGD": list(gaps["SGD"].values()), "Adam": list(gaps["Adam"].values())}
print(numbers)
"""
LOSSES = """
from lora_np.figures.trade_scene import TRADES, run

sgd, _ = run("SGD", rank, alpha)
traded, _ = run("SGD", rank, alpha, c=c, trade=TRADES[trade])
adam, _ = run("Adam", rank, alpha)
after, _ = run("Adam", rank, alpha, c=c, trade=TRADES[trade])
numbers = {"SGD": sgd, "SGD, traded": traded, "Adam": adam, "Adam, traded": after}
print(numbers)
"""


@st.cache_resource(max_entries=64, show_spinner=False)
def update(rank: int, alpha: int, steps: int) -> UpdateScene:
    """Take one more step at every rate."""
    return scenes.update_scene(rank, alpha, steps=steps)


@st.cache_resource(max_entries=28, show_spinner=False)
def cosines(alpha: int, steps: int) -> dict[int, list[float]]:
    """Compare the step with the full gradient at every rank."""
    return scenes.cosines(alpha, steps=steps)


@st.cache_resource(max_entries=10, show_spinner=False)
def random(rank: int, law: str) -> RandomScene:
    """Average random updates."""
    return scenes.random_scene(rank, law=law)


@st.cache_resource(max_entries=64, show_spinner=False)
def additive(rank: int, wanted: str, steps: int, shift: float) -> AdditiveScene:
    """Train the product and the sum of strips."""
    return scenes.additive_scene(rank, wanted=wanted, steps=steps, shift=shift)


@st.cache_resource(max_entries=len(ALPHAS), show_spinner=False)
def scale(alpha: int) -> ScaleScene:
    """Measure the first gradient at every rank."""
    return trades.scale_scene(alpha)


@st.cache_resource(max_entries=64, show_spinner=False)
def trade(rank: int, alpha: int, c: int) -> TradeScene:
    """Run both optimizers with and without every trade."""
    return trades.trade_scene(rank, alpha, c=c)
