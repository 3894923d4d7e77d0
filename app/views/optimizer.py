"""LoRA as an optimizer: what a step of the strips does to the weight."""

import streamlit as st

from app import frame
from app.logic import optimizer
from lora_np.figures import optimizer as figures
from lora_np.figures.chart import percent

HERE = "views/optimizer.py"

frame.heading(
    "LoRA as an optimizer",
    "Training B and A moves the weight W₀ + s B A. How does that step differ from the full gradient's?",
)
frame.predict(
    "Multiply α by 4, divide the learning rate by 4 and the start of A by 2: under SGD every step stays as it was. "
    "What does the same trade do under Adam?",
    ["nothing, too", "its steps become half as large", "it diverges"],
    answer="its steps become half as large",
    because="Adam divides the gradient by its own size, so a larger α makes no larger step; only the rate does. Adam's "
    "own trade is to divide the rate by 2. What the learning rate can replace depends on the optimizer.",
    key="guess_optimizer",
    see=(HERE, {"opt_look": "α and the rate", "opt_trade": "lr / c, A / √c", "opt_c": "4"}),
)
with frame.controls():
    look = frame.choose("What to look at", optimizer.LOOKS, default="one step", key="opt_look")
    first, second, third = st.columns(3)
    state: dict[str, object] = {"opt_look": look}
    if look == "sums of strips":
        with first:
            rank = frame.choose("Rank r", optimizer.STRIPS, default=1, key="opt_strips")
            wanted = frame.choose(
                "Wanted increment",
                list(optimizer.WANTED),
                default="directions",
                key="opt_wanted",
                help="directions: products of a row pattern and a column pattern. rows and columns: one number a row "
                "plus one a column.",
            )
        with second:
            steps = st.slider("Steps of SGD", 1, 30, 20, key="opt_trained", bind=frame.URL)
        with third:
            shift = st.slider(
                "Gauge c, moved from A to B", -5.0, 5.0, 1.0, 0.5, key="opt_gauge", bind=frame.URL
            )
        state |= {"opt_strips": rank, "opt_wanted": wanted, "opt_trained": steps, "opt_gauge": shift}
    else:
        with first:
            rank = st.select_slider("Rank r", optimizer.RANKS, value=4, key="opt_rank", bind=frame.URL)
        state |= {"opt_rank": rank}
    if look == "random factors":
        with second:
            law = frame.choose("Entries drawn", list(optimizer.LAWS), default="gaussian", key="opt_law")
        state |= {"opt_law": law}
    if look in ("one step", "α and the rate"):
        with second:
            alpha = st.select_slider("α", optimizer.ALPHAS, value=8, key="opt_alpha", bind=frame.URL)
        state |= {"opt_alpha": alpha}
    if look == "one step":
        with third:
            steps = frame.choose("Steps taken before", optimizer.STEPS, default=5, key="opt_before")
        state |= {"opt_before": steps}
    if look == "α and the rate":
        with third:
            c = frame.choose("Factor c on α", optimizer.FACTORS, default=4, key="opt_c")
        trade = frame.choose(
            "What is divided for it", list(optimizer.TRADES), default="lr / c, A / √c", key="opt_trade"
        )
        state |= {"opt_c": c, "opt_trade": trade}
frame.presets(
    HERE,
    {
        "The first step of all: B = 0": {"opt_look": "one step", "opt_before": "0"},
        "Full rank, and still not the gradient": {
            "opt_look": "one step",
            "opt_rank": "16",
            "opt_before": "0",
        },
        "Many random steps make the gradient": {"opt_look": "random factors", "opt_rank": "1"},
        "What a sum can do and a product cannot": {
            "opt_look": "sums of strips",
            "opt_wanted": "rows and columns",
        },
        "A trade that Adam does not accept": {
            "opt_look": "α and the rate",
            "opt_trade": "lr / c, A / √c",
            "opt_c": "4",
        },
    },
)
(d, k), (m, n) = optimizer.SIDES, optimizer.SMALL
letters = {"g_W": (d, k), "B": (d, rank), "A": (rank, k), "r": (rank,)}

if look == "one step":
    with frame.stopwatch() as seconds:
        update, cosines = optimizer.update(rank, alpha, steps), optimizer.cosines(alpha, steps)
    frame.numbers(
        ("Cosine in this run", f"{update.cosine:.2f}", "measured"),
        (
            "Orders are equal at",
            f"η = {update.crossing:.2g}" if update.crossing else "no rate: B = 0",
            "computed",
        ),
        ("Rank of the step, at most", f"{min(2 * rank, k) if steps else rank} of {k}", "computed"),
    )
    frame.show(
        figures.orders(update),
        key="optimizer_orders",
        equations=("view-update",),
        shapes=letters,
        code=optimizer.CODE["orders"],
        snippet=frame.script(optimizer.ORDERS, rank=rank, alpha=alpha, steps=steps),
    )
    frame.show(
        figures.cosine_curve(cosines, rank=rank, steps=steps),
        key="optimizer_cosine",
        kind="measured",
        equations=("view-first-order", "view-projected"),
        shapes=letters,
        code=optimizer.CODE["cosine"],
        snippet=frame.script(optimizer.COSINE, alpha=alpha, steps=steps),
    )
    frame.lesson(
        "LoRA does not take the full gradient's step. To first order it takes the gradient seen through the rows of A "
        "and the columns of B, and those are few: the cosine says how much of the direction is left. Even at full rank "
        "it is not 1, because A stretches some directions and shrinks others. The two strips also move at the same "
        "time, and the product of their steps is an η² term; at small rates it vanishes, and at the very first step it "
        "is exactly zero, because B is."
    )
elif look == "random factors":
    with frame.stopwatch() as seconds:
        random = optimizer.random(rank, law)
    frame.numbers(
        ("One update is off by", percent(random.errors[0]), "measured"),
        (f"The mean of {random.draws[-1]}", percent(random.errors[-1]), "measured"),
        ("In theory", percent(random.theory[-1]), "computed"),
    )
    frame.show(
        figures.convergence(random, rank=rank),
        key="optimizer_mean",
        kind="measured",
        equations=("view-random-mean", "view-random-identity"),
        shapes=letters,
        code=optimizer.CODE["mean"],
        snippet=frame.script(optimizer.MEAN, rank=rank, law=law),
    )
    frame.show(
        figures.spectra(random, rank=rank),
        key="optimizer_spectra",
        kind="measured",
        equations=("view-random",),
        shapes=letters,
        code=optimizer.CODE["spectra"],
        snippet=frame.script(optimizer.SPECTRA, rank=rank),
    )
    frame.lesson(
        "Draw B and A afresh at every step and do not train them: each step then moves the weight in 2 r directions at "
        "most, chosen at random. On average nothing is lost: the mean of many such steps is the full gradient's step, "
        "2 r times as large. The mean comes near with 1 / √n, as averages do, so four times the steps halve the error."
    )
elif look == "sums of strips":
    with frame.stopwatch() as seconds:
        additive = optimizer.additive(rank, wanted, steps, shift)
    small = {"B": (m, rank), "A": (rank, n), "r": (rank,)}
    values = {"rank": rank, "wanted": wanted, "steps": steps}
    frame.numbers(
        ("Product misses", percent(additive.left["product"]), "measured"),
        ("Sum misses", percent(additive.left["sum"]), "measured"),
        ("The gauge moves the weight by", figures.gap_text(additive.moved), "measured"),
    )
    frame.show(
        figures.increments(additive),
        key="optimizer_increments",
        kind="measured",
        equations=("additive-weight" if rank == 1 else "additive-blocks",),
        shapes=small,
        code=optimizer.CODE["increments"],
        snippet=frame.script(optimizer.INCREMENTS, **values),
    )
    frame.show(
        figures.directions(additive),
        key="optimizer_directions",
        kind="measured",
        equations=("additive-grad" if rank == 1 else "additive-blocks-grad",),
        shapes={"g_W": (m, n), **small},
        code=optimizer.CODE["directions"],
        snippet=frame.script(optimizer.DIRECTIONS, **values),
    )
    frame.show(
        figures.gauge(additive, shift=shift),
        key="optimizer_gauge",
        kind="measured",
        equations=("additive-gauge",),
        shapes=small,
        code=optimizer.CODE["gauge"],
        snippet=frame.script(optimizer.GAUGE, **values, shift=shift),
    )
    frame.lesson(
        "Add the strips instead of multiplying them: every entry of the increment is then one number of its row plus "
        "one of its column (or of its block, for r > 1). Both strips may start at zero and still learn, while of a "
        "product that starts with B = 0 only B can move at first. The price is what a sum can be: stripes, whatever "
        "the task wants. And a constant may move from one strip to the other without the weight noticing, so r² of "
        "the numbers do nothing."
    )
else:
    with frame.stopwatch() as seconds:
        scale, traded = optimizer.scale(alpha), optimizer.trade(rank, alpha, c)
    gaps = {name: found[trade] for name, found in traded.gaps.items()}
    frame.numbers(
        ("Gap under SGD", figures.gap_text(gaps["SGD"]), "measured"),
        ("Gap under Adam", figures.gap_text(gaps["Adam"]), "measured"),
        ("Slope of ‖g_B‖, α / r", f"{scale.slopes['α / r']:.2f}", "measured"),
        ("Slope of ‖g_B‖, α / √r", f"{abs(scale.slopes['α / √r']):.2f}", "measured"),
    )
    w = optimizer.WIDTH
    frame.show(
        figures.scales(scale),
        key="optimizer_scales",
        kind="measured",
        equations=("lora-scale", "lora-scale-rs", "lora-grad-b"),
        shapes={"g_W": (w, w), r"\alpha": (alpha,)},
        code=optimizer.CODE["scales"],
        snippet=frame.script(optimizer.SCALES, alpha=alpha),
    )
    frame.show(
        figures.gaps(traded, c=c),
        key="optimizer_gaps",
        kind="measured",
        equations=("view-sgd", "view-adam"),
        shapes={**letters, r"\alpha": (alpha,)},
        code=optimizer.CODE["trades"],
        snippet=frame.script(optimizer.GAPS, rank=rank, alpha=alpha, c=c),
    )
    frame.show(
        figures.losses(traded, trade=trade, c=c),
        key="optimizer_losses",
        kind="measured",
        equations=("view-weight-step",),
        shapes={**letters, r"\alpha": (alpha,)},
        code=optimizer.CODE["losses"],
        snippet=frame.script(optimizer.LOSSES, rank=rank, alpha=alpha, c=c, trade=trade),
    )
    frame.lesson(
        "With s = α / r the first gradient shrinks as the rank grows, so a rate tuned at rank 8 is too small at rank "
        "64; with s = α / √r it keeps its size. **α and the learning rate are not interchangeable as they stand:** the "
        "start of A must give way, too, and how much of the rate pays for α depends on the optimizer: all of c under "
        "SGD, only √c under Adam, whose steps do not grow with the gradient. Each optimizer's own trade repeats the "
        "run to rounding; the other's does not."
    )
frame.ending(seconds=seconds(), **state)
