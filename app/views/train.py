"""Training: watch a layer learn, hold it, step it, and lay runs side by side."""

import streamlit as st

from app import frame
from app.live import buttons, watched
from app.logic import train
from lora_np.figures import train as figures

frame.heading("Training playground", "What happens inside the two strips while they learn?")
frame.predict(
    "Both A and B start at zero. What does training do?",
    ["nothing, for ever", "it starts slowly", "the same as usual", "it diverges"],
    answer="nothing, for ever",
    because="The gradient of B is a product with A, and the gradient of A is a product with B. Both factors are zero, "
    "so both gradients are zero: no step moves either, however many steps there are. One of them has to be random.",
    key="guess_train",
    see=("views/train.py", {"train_init": "both zero"}),
)
with frame.controls():
    task = frame.choose("Task", list(train.TASKS), default="teacher", key="train_task")
    st.caption(f"Here: {train.TASKS[task]}.")
    first, second, third, fourth = st.columns(4)
    with first:
        method = st.selectbox("Method", train.METHODS, key="train_method", bind=frame.URL)
        st.caption(f"Here: {train.RECIPES[method].words}.")
    factors = method not in train.WITHOUT_FACTORS
    with second:
        rank = st.select_slider(
            "Rank r", train.RANKS, value=4, key="train_rank", bind=frame.URL, disabled=not factors
        )
    with third:
        alpha = st.select_slider(
            "Strength α",
            train.ALPHAS,
            value=8,
            key="train_alpha",
            bind=frame.URL,
            disabled=not factors,
            help="B A is multiplied by s = α / r. That is not the learning rate: it scales what the strips do.",
        )
    with fourth:
        lr = st.select_slider("Learning rate", train.RATES, value=0.01, key="train_lr", bind=frame.URL)
    first, second, third, fourth = st.columns(4)
    with first:
        init = st.selectbox(
            "Start",
            list(train.SCHEMES),
            key="train_init",
            bind=frame.URL,
            disabled=method not in train.DRAW_THEIR_START,
            help="Which of the two strips begin at zero. Where both are random, their product is taken out of W₀ "
            "first, so that every run starts at the same loss. PiSSA, MiLoRA and OLoRA bring their own start.",
        )
    with second:
        optimizer = st.selectbox("Optimizer", train.OPTIMIZERS, key="train_opt", bind=frame.URL)
    with third:
        steps = st.select_slider("Steps in all", train.LENGTHS, value=300, key="train_steps", bind=frame.URL)
    with fourth:
        seed = st.slider("Seed", 0, train.SEEDS, 0, key="train_seed", bind=frame.URL)
    true_rank, noise, layer = 4, 0.0, "first"
    first, second, third = st.columns(3)
    if task == "teacher":
        with first:
            true_rank = st.select_slider(
                "Rank of the teacher's change",
                train.TRUE_RANKS,
                value=4,
                key="train_true_rank",
                bind=frame.URL,
            )
        with second:
            noise = st.select_slider(
                "Noise on the training targets", train.NOISES, value=0.0, key="train_noise", bind=frame.URL
            )
    else:
        with first:
            layer = frame.choose(
                "Layer that is shown", list(train.LAYERS), default="first", key="train_layer"
            )
    with third:
        half = frame.choose(
            "Loss on the rows",
            list(figures.HALVES),
            default="held out",
            key="train_loss",
            help="training: the rows that the gradient is made of. held out: rows it never saw, without noise.",
        )
frame.presets(
    "views/train.py",
    {
        "Less rank than the teacher": {"train_rank": "2"},
        "Both strips zero": {"train_init": "both zero"},
        "A zero in place of B": {"train_init": "A zero"},
        "Full rank on noisy rows": {"train_rank": "32", "train_noise": "1.0"},
        "A rate that overshoots": {"train_opt": "sgd", "train_lr": "0.3"},
        "Real digits": {"train_task": "digits"},
    },
)

chosen = train.choice(
    task,
    true_rank,
    noise,
    method=method,
    rank=rank,
    alpha=float(alpha),
    scheme=train.SCHEMES[init],
    optimizer=optimizer,
    lr=lr,
    steps=steps,
    seed=seed,
)
index = train.LAYERS[layer]
run = train.run(chosen)
trained, whole, _ = train.trainable(chosen)
with st.container(horizontal=True):
    buttons(
        run,
        train.KEY,
        step_help="To the next point of the curves: one step at first, later a hundredth of the run.",
    )
    st.button(
        "Pin this run",
        key="train_pin",
        icon=":material/keep:",
        disabled=len(train.pins()) >= train.PINS or not run.seen[1:],
        help=f"Keep its curve to compare the next ones with: at most {train.PINS}.",
        on_click=train.pin,
        args=(run,),
    )
    st.button(
        "Unpin all",
        key="train_unpin",
        icon=":material/keep_off:",
        disabled=not train.pins(),
        on_click=train.unpin_all,
    )


def draw() -> None:
    """Draw the run as far as it got."""
    now = train.played(run)
    runs = train.compared(now)
    where = "measured" if task == "digits" else "computed"
    if now.left_at is not None:
        st.error(
            f"**The run diverged at step {now.left_at}** and was stopped: each step overshoots further than the last. "
            "Choose a smaller learning rate.",
            icon=":material/trending_up:",
        )
    elif run.over:
        st.caption("The run is at its end. Pin it, change a control, and compare.")
    elif run.going:
        st.caption("Running …")
    elif now.now.step:
        st.caption(f"Paused at step {now.now.step:,}. A change of a control above begins a new run.")
    else:
        st.caption(
            "Paused at step 0: press **Start**. A change of a control above brings a run back to here."
        )
    frame.numbers(
        ("Step", f"{now.now.step:,} of {steps:,}", "computed"),
        ("Loss, training", f"{now.now.loss:.3g}", where),
        ("Loss, held out", f"{now.now.held_out:.3g}", where),
        ("Numbers that train", f"{trained:,} of {whole:,}", "computed"),
    )
    letters = train.sizes(chosen, index)
    frame.show(
        figures.loss_curves(runs, half=half),
        key="train_loss_picture",
        kind=where,
        equations=train.loss_equations(task),
        shapes={"W_0": letters["W_0"]},
        code=train.task_code(task),
        snippet=train.loss_script(runs, half),
    )
    frame.show(
        figures.spectrum_growth(now, layer=index),
        key="train_spectrum",
        equations=train.growth_equations(chosen),
        shapes=letters,
        code=train.GROWTH_CODE,
        snippet=train.growth_script(now, index, figures.DRAWN),
    )
    frame.show(
        figures.norms(now, layer=index),
        key="train_norms",
        equations=train.gradient_equations(chosen),
        shapes=letters,
        code=train.gradient_code(chosen),
        snippet=train.norm_script(now, index),
    )


watched(run, draw, at_most=train.pace(chosen.settings))
frame.lesson(
    "Strips of the teacher's rank learn its change one direction after the other, the largest first, and the loss "
    "falls to nothing. With less rank the loss stays on a shelf: the directions that found no place. With more rank "
    "the extra directions stay empty, until the targets are noisy: then they learn the noise, and the loss on held-out "
    "rows rises while the training loss falls. **Bigger r is not always better.**\n\n"
    "**Start.** With B zero, only B has a gradient at first; with A zero, only A. Both begin at the same loss, but "
    "their first steps and their curves differ. With both zero, nothing ever happens.\n\n"
    "**α is not the learning rate.** Pin a run, double α; then go back and double the rate: three different curves. α "
    "scales what the strips do and what they feel, the rate only how far they step.\n\n"
    "Not here, because they change the layer itself: DoRA, AdaLoRA, VeRA, LoRA-XS, LoHa, LoKr, OFT, (IA)³, bottleneck "
    "adapters, prefixes and prompts. Nothing is trained between your visits, and a link never starts a run."
)
frame.ending(
    seconds=run.seconds,
    train_task=task,
    train_method=method,
    train_rank=rank,
    train_alpha=alpha,
    train_lr=lr,
    train_init=init,
    train_opt=optimizer,
    train_steps=steps,
    train_seed=seed,
    train_true_rank=true_rank,
    train_noise=noise,
    train_layer=layer,
    train_loss=half,
)
