"""Merge, swap and combine: several real adapters on one base."""

import streamlit as st

from app import frame
from app.logic import merge
from lora_np.figures import combine, mixed
from lora_np.figures import merge as figures
from lora_np.figures.chart import percent
from lora_np.figures.merge_scene import SWAPS

HERE = "views/merge.py"
frame.heading(
    "Merge, swap and combine",
    "One network, several adapters: what may be added, taken out, mixed and summed?",
)
frame.predict(
    "An adapter is merged into W₀ and taken out again, in float64, the finest number type here. "
    "How many of the weights come back bit for bit?",
    ["all of them", "most, not all", "hardly any"],
    answer="most, not all",
    because="Every sum is rounded, and subtracting cannot bring back the digits that rounding cut off: about a fifth "
    "of the weights come back a little different, in float64 just as in bfloat16. Keep W₀, and every bit returns.",
    key="guess_merge",
    see=(HERE, {"merge_look": "merge", "merge_adapter": "rotated-45", "merge_strength": "1.0"}),
)
with frame.controls():
    look = frame.choose("What to look at", merge.LOOKS, default="merge", key="merge_look")
    st.caption(f"Here: {merge.QUESTIONS[look]}.")
    state: dict[str, object] = {"merge_look": look}
    if look == "merge":
        first, second = st.columns(2)
        with first:
            adapter = st.selectbox("Adapter", merge.ADAPTERS, key="merge_adapter", bind=frame.URL)
            st.caption(f"Trained on: {merge.words(adapter)}.")
        with second:
            strength = st.select_slider(
                "Size of its increment, times the trained one",
                merge.STRENGTHS,
                value=1.0,
                key="merge_strength",
                bind=frame.URL,
            )
        state |= {"merge_adapter": adapter, "merge_strength": strength}
    if look == "combine":
        first, second = st.columns(2)
        with first:
            method = st.selectbox("Combine by", list(merge.METHODS), key="merge_method", bind=frame.URL)
            st.caption(f"That is: {merge.METHODS[method]}.")
        with second:
            layer = frame.choose(
                "Layer whose rank and error are shown", list(merge.LAYERS), default="first", key="merge_layer"
            )
        weights = []
        for place, (column, task) in enumerate(zip(st.columns(4), merge.ADAPTERS, strict=True)):
            with column:
                weight = st.slider(
                    f"Weight of {task}",
                    -1.0,
                    1.5,
                    1.0 if place < 2 else 0.0,
                    0.25,
                    key=f"merge_weight_{place}",
                    bind=frame.URL,
                )
            weights.append(weight)
            state[f"merge_weight_{place}"] = weight
        first, second = st.columns(2)
        with first:
            rank = st.slider("Rank that svd keeps", 1, merge.MOST_RANK, 4, key="merge_rank", bind=frame.URL)
        with second:
            density = st.slider(
                "Share of entries that ties, dare and magnitude keep",
                0.1,
                1.0,
                0.5,
                0.1,
                key="merge_density",
                bind=frame.URL,
            )
        state |= {
            "merge_method": method,
            "merge_layer": layer,
            "merge_rank": rank,
            "merge_density": density,
        }
    if look == "mix":
        names = st.pills(
            "Tasks in the batch; upright digits use the base alone",
            merge.TASKS,
            selection_mode="multi",
            default=merge.TASKS,
            key="merge_tasks",
            bind=frame.URL,
        )
        first, second = st.columns(2)
        with first:
            rows = st.slider("Rows of the batch", 1, merge.MOST_ROWS, 16, key="merge_rows", bind=frame.URL)
        with second:
            size = st.selectbox("Count the cost of", merge.SIZES, key="merge_size", bind=frame.URL)
        state |= {"merge_tasks": names, "merge_rows": rows, "merge_size": size}
frame.presets(
    HERE,
    {
        "bfloat16 swallows a weak adapter": {"merge_look": "merge", "merge_strength": "0.01"},
        "Each adapter for its own task": {"merge_look": "swap"},
        "Added exactly: rank 4 + 4 = 8": {"merge_look": "combine", "merge_method": "cat"},
        "TIES keeps more of both tasks": {"merge_look": "combine", "merge_method": "ties"},
        "Five tasks in one batch": {"merge_look": "mix", "merge_size": "a layer of 4096 × 4096"},
    },
)

if look == "merge":
    with frame.stopwatch() as seconds:
        types = merge.merged(adapter, strength)
        remembered = merge.remembered(adapter, strength=strength)
    coarse = types[-1]
    frame.numbers(
        ("Scores change, bfloat16", figures.sized(coarse.output_error), "measured"),
        ("Answers change, bfloat16", f"{coarse.answers_changed} of {coarse.digits}", "measured"),
        ("Weights not back, float64", percent(types[0].off), "measured"),
        ("Not back with W₀ kept", "none" if remembered else "some", "measured"),
    )
    snippet = {"adapter": adapter, "strength": strength}
    frame.show(
        figures.output_errors(types),
        key="merge_output",
        kind="measured",
        equations=("lora-merge", "lora-2"),
        shapes=merge.layer_shapes("first"),
        code=merge.CODE["output"],
        snippet=frame.script(merge.OUTPUT, **snippet),
    )
    frame.show(
        figures.unmerged_shares(types),
        key="merge_back",
        kind="measured",
        equations=("lora-unmerge",),
        shapes=merge.layer_shapes("first"),
        code=merge.CODE["unmerge"],
        snippet=frame.script(merge.UNMERGE, **snippet),
    )
    frame.lesson(
        "The network scores each of the ten classes (its logits), and the highest score is its answer. Merging leaves "
        "the scores as they are on paper only: on a computer the sum of weight and increment is rounded when it is "
        "stored, so the merged network's scores differ a little, by about one rounding of the number type. In float32 "
        "nobody sees it; in bfloat16, with 8 binary digits, an answer may change where two scores are close. A weak "
        "increment can vanish: where it is smaller than half a step of the weight, merging changes nothing. And "
        "taking it out again is one more rounding: keep W₀, or reload it."
    )
if look == "swap":
    with frame.stopwatch() as seconds:
        matrix, drift = merge.matrix(), merge.drift()
    moved, whole = merge.numbers_to_move()
    frame.numbers(
        ("Numbers that a swap moves", f"{moved:,}", "computed"),
        ("Numbers in the whole network", f"{whole:,}", "computed"),
        ("Adapters here", f"{len(merge.ADAPTERS)}", "computed"),
    )
    frame.show(
        figures.swap_heatmap(matrix, tasks=merge.TASKS, models=["base alone", *merge.ADAPTERS]),
        key="merge_matrix",
        kind="measured",
        equations=("lora-delta",),
        shapes=merge.layer_shapes("first"),
        code=merge.CODE["matrix"],
        snippet=merge.MATRIX.strip(),
    )
    frame.show(
        figures.drift_lines(drift, swaps=SWAPS),
        key="merge_drift",
        kind="measured",
        equations=("adapters-swap",),
        shapes=merge.layer_shapes("first"),
        code=merge.CODE["drift"],
        snippet=frame.script(merge.DRIFT, swaps=list(SWAPS)),
    )
    frame.lesson(
        "Each adapter reads the task it was trained on, and the others far worse: a task is in the strips, not in "
        "the base. So one base serves many tasks, and changing the task moves the strips alone. But where the base "
        "was thrown away and every swap subtracts the old increment and adds the new one, the roundings pile up: "
        "before long, twice as many swaps make twice the error, in every number type. Keep W₀."
    )
if look == "combine":
    with frame.stopwatch() as seconds:
        scene = merge.combined(method, tuple(weights), rank=rank, density=density, layer=layer)
        matrix = merge.matrix()
    here = scene.combinations[method]
    frame.numbers(
        ("Rank of each adapter", f"{merge.RANK}", "computed"),
        ("Rank of the result", f"{here.rank}", "measured"),
        ("From the exact sum", combine.away(here.error), "measured"),
    )
    choice = {"weights": weights, "rank": rank, "density": density}
    frame.show(
        combine.rank_and_error(scene.combinations, scene.least, chosen=method),
        key="merge_methods",
        kind="measured",
        equations=merge.EQUATIONS[method],
        shapes=merge.layer_shapes(layer),
        code=(merge.SOURCES[method],),
        snippet=frame.script(merge.METHODS_ALL, **choice, layer=merge.LAYERS[layer]),
    )
    frame.show(
        combine.accuracy_bars(
            merge.TASKS, matrix[0].tolist(), merge.own(matrix), scene.accuracy, method=method
        ),
        key="merge_accuracy",
        kind="measured",
        equations=("combine-sum", "adapters-merge"),
        shapes=merge.layer_shapes(layer),
        code=merge.CODE["accuracy"],
        snippet=frame.script(merge.ACCURACY, method=method, **choice),
    )
    frame.lesson(
        "Adding two increments of rank 4 gives rank 8: directions add up until the layer has no more (the last layer "
        "has 10 outputs, so 10 is all it can hold). Staying at a small rank costs: svd loses as little as any "
        "increment of its rank can, and adding strip to strip (linear) is far from the sum, for each adapter's output "
        "strip then also meets the others' input strips. But the exact sum of increments is not the sum of skills: "
        "look at the accuracies. Where two adapters pull one weight different ways, the average of those that agree "
        "(ties) can do better than the exact sum."
    )
if look == "mix":
    with frame.stopwatch() as seconds:
        batch = merge.mixed(tuple(names), rows, layers=size)
    frame.numbers(
        ("Read right, each row by its own", percent(batch.accuracy), "measured"),
        ("Best that one model alone does", percent(batch.one_for_all), "measured"),
        ("Farthest from a row sent alone", figures.sized(max(batch.differences)), "measured"),
    )
    frame.show(
        mixed.batch_rows(batch),
        key="merge_batch",
        kind="measured",
        equations=("adapters-mixed",),
        shapes=merge.layer_shapes("first") | {"N": (rows,)},
        code=merge.CODE["rows"],
        snippet=frame.script(merge.ROWS, names=batch.names),
    )
    sizes, strips = merge.sizes(size)
    frame.show(
        mixed.serving_bars(batch.costs, layers=size),
        key="merge_costs",
        equations=("cost-product", "lora-merge"),
        shapes={"N": (rows,), "r": (strips,)},
        code=merge.CODE["costs"],
        snippet=frame.script(merge.COSTS, sizes=sizes, rank=strips, rows=merge.counts(batch.names)),
    )
    frame.lesson(
        "A merged weight serves one task and has no extra work; that is what merging is for. A batch that mixes tasks "
        "does not need it: all rows share one product with W₀, and each adds its own two thin products. Those are few "
        "beside W₀ where the layer is wide: compare the 4096 × 4096 layer. Merging for each task in turn does more "
        "work and moves whole weights again and again; on a small batch, moving weights is what takes the time."
    )
frame.ending(seconds=seconds(), **state)
