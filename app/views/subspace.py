"""Which matrices, which rank: the same budget spent in different places, and what the factors then share."""

import streamlit as st

from app import frame, work
from app.logic import subspace
from lora_np.figures import subspace as figures
from lora_np.figures.chart import percent

shipped = subspace.shipped()
records = shipped.records
upright, turned = subspace.before(records)
frame.heading(
    "Which matrices, which rank",
    "A transformer has many matrices, and the budget is small: which of them get an adapter, and how thick a one?",
)
frame.predict(
    "1,024 numbers may be trained, as an adapter of rank 8: on q, which decides at which parts of the picture each "
    "part looks, or on v, which decides what it takes from there. Which helps more?",
    list(subspace.GUESSES.values()),
    answer=subspace.GUESSES[subspace.better_of(records, 1024, "q", "v")],
    because=f"Means over {len(subspace.SEEDS)} seeds, every set with 1,024 numbers: "
    f"{subspace.means_of(records, 1024)}. It matters where the numbers go; rank 16 on q and v is a habit, not a law.",
    key="guess_subspace",
    see=("views/subspace.py", {"sub_view": "same budget", "sub_budget": "1024"}),
)
with frame.controls():
    first, second = st.columns(2)
    with first:
        view = frame.choose(
            "Accuracy of all sets at", ["same budget", "every rank"], default="same budget", key="sub_view"
        )
    with second:
        if view == "same budget":
            budget = st.select_slider(
                "Trained numbers", subspace.BUDGETS, value=1024, key="sub_budget", bind=frame.URL
            )
            chosen = "q + v"
        else:
            budget = 1024
            chosen = st.selectbox(
                "Matrices with adapters", list(subspace.NAMES), index=5, key="sub_set", bind=frame.URL
            )
    first, second, third = st.columns(3)
    with first:
        matrix = frame.choose("Look into q + v: adapter of", subspace.MATRICES, default="v", key="sub_matrix")
    with second:
        factor = frame.choose(
            "Factor",
            list(subspace.FACTORS),
            default="A",
            key="sub_factor",
            help="A says which inputs the adapter reads, B which outputs it writes.",
        )
    with third:
        rank = st.select_slider("Its rank", subspace.RANKS, value=8, key="sub_rank", bind=frame.URL)
    first, second, third = st.columns(3)
    with first:
        other = st.selectbox(
            "Compared with",
            subspace.OTHERS,
            key="sub_other",
            bind=frame.URL,
            help="The same adapter at another rank; of the same rank from other random first numbers; or untrained.",
        )
    with second:
        if other == "another rank":
            other_rank = st.select_slider(
                "The other rank", subspace.RANKS, value=16, key="sub_other_rank", bind=frame.URL
            )
        else:
            other_rank = 16
    with third:
        chance = st.toggle("Subtract what chance gives", key="sub_chance", bind=frame.URL)
frame.presets(
    "views/subspace.py",
    {
        "Smallest budget": {"sub_budget": "512"},
        "q + v at every rank": {"sub_view": "every rank", "sub_set": "q + v"},
        "Two starts, beyond chance": {"sub_other": "another start", "sub_rank": "16", "sub_chance": "true"},
        "Nothing but chance": {"sub_other": "random", "sub_rank": "16"},
    },
)

with frame.stopwatch() as seconds:
    rows = subspace.at_budget(records, budget)
    phi = subspace.phi(matrix, factor, rank, other, other_rank)
    strengths = subspace.strength(matrix)
strength = strengths[subspace.RANKS.index(rank)]
frame.numbers(
    ("Upright, then turned", f"{percent(upright)} → {percent(turned)}", "measured"),
    (f"Best at {budget:,} numbers", subspace.told(str(rows[0]["set"])), "measured"),
    ("First directions share", f"{phi.phi[0, 0]:.2f}, chance {phi.chance[0, 0]:.2f}", "computed"),
    ("Amplification", f"{strength.factor:.1f} ×", "computed"),
)
st.caption(
    "A real transformer of one block learnt the upright digits. A digit is eight tokens, its lines; each becomes 64 "
    "numbers. q and k decide which token looks at which, v what it takes from there, o how that is added, and 1 and 2 "
    "work on each token alone. All that is frozen while adapters learn digits turned by an eighth: "
    f"{subspace.ADAPTING[0]} steps, one learning rate for all sets, {len(subspace.SEEDS)} seeds."
)

st.header("Where do the numbers help most?", anchor=False)
if view == "same budget":
    frame.show(
        figures.budget_dots(rows, subspace.of_the_grid(records), before=turned),
        key="sub_accuracy",
        kind="measured",
        equations=("count-lora", "net-block", "net-attention"),
        shapes={"W_0": (64, 64), "B": (64, rank), "A": (rank, 64)},
        code=subspace.TRAINING,
        snippet=frame.script(
            """
            from lora_np.training.experiments import matrices, summary

            steps = matrices.ADAPTING[0]
            runs = [run for run in matrices.read().records if run["steps"] == steps and run["draw"] == 1]
            rows = summary([run for run in runs if run["trained"] == budget], by=["set", "rank"])
            rows = sorted(rows, key=lambda row: -row["mean"])
            numbers = {"rank": [row["rank"] for row in rows], "mean accuracy": [row["mean"] for row in rows]}
            print(numbers)
            """,
            budget=budget,
        ),
    )
else:
    frame.show(
        figures.rank_curves(subspace.by_rank(records), chosen=subspace.NAMES[chosen]),
        key="sub_accuracy",
        kind="measured",
        equations=("count-lora", "net-block", "net-attention"),
        shapes={"W_0": (64, 64), "B": (64, rank), "A": (rank, 64)},
        code=subspace.TRAINING,
        snippet=frame.script(
            """
            from lora_np.training.experiments import matrices, summary

            steps = matrices.ADAPTING[0]
            runs = [run for run in matrices.read().records if run["steps"] == steps and run["draw"] == 1]
            rows = summary(runs, by=["set", "rank"])
            numbers = {"rank": [row["rank"] for row in rows], "mean accuracy": [row["mean"] for row in rows]}
            print(numbers)
            """
        ),
    )

st.header("Do two adapters find the same directions?", anchor=False)
frame.show(
    figures.phi_heatmap(phi, beyond_chance=chance),
    key="sub_phi",
    equations=("subspace-phi", "subspace-random"),
    shapes={"A": (rank, 64), "B": (64, rank)},
    code=subspace.SHARING,
    snippet=frame.script(
        """
        import numpy as np
        from lora_np.subspace import similarity_grid
        from lora_np.training.experiments import matrices

        def side_and_factor(place):
            B, A = matrices.read().factors[place]
            return ("right", A.astype(float)) if factor == "A" else ("left", B.astype(float))

        side, first = side_and_factor((matrix, rank, 1))
        if other == "random":  # both factors are drawn, B first
            rng = np.random.default_rng(0)
            drawn = {name: rng.standard_normal(shape) for name, shape in (("B", (64, rank)), ("A", (rank, 64)))}
            second = drawn[factor]
        else:
            place = (matrix, other_rank, 1) if other == "another rank" else (matrix, rank, 2)
            second = side_and_factor(place)[1]
        numbers = {"φ": similarity_grid(first, second, side=side).ravel().tolist()}
        print(numbers)
        """,
        matrix=matrix,
        factor=factor,
        rank=rank,
        other=other,
        other_rank=other_rank,
    ),
)

st.header("What does the increment amplify?", anchor=False)
frame.show(
    figures.strength_bars(strengths, matrix=matrix, rank=rank),
    key="sub_strength",
    equations=("subspace-amplification", "subspace-random"),
    shapes={"W_0": (64, 64), r"\Delta W": (64, 64), "U": (64, rank), "V": (64, rank), "r": (rank,)},
    code=subspace.STRENGTH,
    snippet=frame.script(
        """
        import numpy as np
        from lora_np.subspace import amplification
        from lora_np.training.experiments import matrices

        shipped, scale = matrices.read(), matrices.ALPHA_OVER_RANK
        W0 = shipped.network.layers[matrix].W.astype(float)
        rows = []
        for r in matrices.RANKS:
            B, A = (M.astype(float) for M in shipped.factors[matrix, r, 1])
            rows.append(amplification(W0, scale * (B @ A), r))
        numbers = {"‖ΔW‖": [row.delta_norm for row in rows], "amplification": [row.factor for row in rows]}
        print(numbers)
        """,
        matrix=matrix,
    ),
)

st.header("Train some of it again, here", anchor=False)
st.markdown(
    f"Nine runs, three sets at three ranks, {subspace.LIVE_STEPS} steps each, from the shipped transformer: shorter "
    "than the runs above, and held against the same short runs as they ship."
)
again = work.work("Train nine small runs", subspace.again, key="sub_again", about="grid")
if again is not None:
    columns, same = subspace.same_again(again, records)
    st.dataframe(columns, hide_index=True, alt=f"{same} of {len(again)} accuracies are the shipped ones.")
    st.markdown(
        f"{frame.tag('measured')} {same} of {len(again)} accuracies are the shipped ones to the last digit. Another "
        "processor may add in another order, and a digit or two may then be named otherwise."
    )
frame.lesson(
    f"{subspace.on_matrices(records, budget)} One learning rate served all sets, which is not what a contest would do."
    f"\n\n**Which rank.** {subspace.on_ranks(records, subspace.NAMES[chosen])}"
    f"\n\n**Shared directions.** {phi.names[0]} against {phi.names[1]}, of W_{matrix}: {subspace.on_sharing(phi)} "
    "φ counts directions, whatever they do: two spaces of 16 among 64 dimensions share a quarter by chance alone. A φ "
    "without its chance says nothing, and a high one does not say that the solutions are the same."
    f"\n\n**Amplification.** {subspace.on_strength(strength, matrix=matrix)}"
)
frame.ending(
    seconds=seconds(),
    sub_view=view,
    sub_budget=budget,
    sub_set=chosen,
    sub_matrix=matrix,
    sub_factor=factor,
    sub_rank=rank,
    sub_other=other,
    sub_other_rank=other_rank,
    sub_chance=chance,
)
