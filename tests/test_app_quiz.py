"""The quiz and the glossary: what they say is computed again, every link leads somewhere, and any session is safe.

Each question has a function in `ANSWERS` that computes by the engine what is right, and returns the option.
"""

import string
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from app.logic import quiz
from app.rooms import ROOMS
from lora_np import lora, merging
from lora_np.adapters.rounding import rounded
from lora_np.counts import adapter_file_bytes, after_pruning, architecture, count, training_memory
from lora_np.equations import EQUATIONS
from lora_np.figures.cost_scene import cost_scene
from lora_np.figures.listing_scene import taken_over
from lora_np.figures.methods_scene import reached_rank, trained
from lora_np.lora import LoraParams
from lora_np.methods import rslora
from lora_np.prune import masked_forward
from lora_np.rank import energy_kept, spectrum_report, svd
from lora_np.subspace import similarity
from tests.app_visits import controls, opened

ITEMS = {item.id: item for item in quiz.items()}
RNG = np.random.default_rng(0)


def rank_of(M) -> int:
    return int(np.linalg.matrix_rank(M))


# ---- the answers, computed -----------------------------------------------------------------------------------------


def rank_promise() -> str:
    """Rank without zeros, zeros without low rank; the rows of a product are mixtures of four."""
    assert rank_of(np.outer([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])) == 1
    assert rank_of(np.eye(64)) == 64
    assert 4 * (512 + 512) > 4
    M = RNG.normal(size=(32, 4)) @ RNG.normal(size=(4, 32))
    assert rank_of(M) == rank_of(M[:4]) == 4  # four rows span all others
    assert len(np.unique(M)) == M.size
    return "All rows are mixtures of 4 rows"


def rank_random() -> str:
    """The share of energy that 4 of 64 directions of a random matrix hold, averaged over draws."""
    kept = [energy_kept(svd(np.random.default_rng(seed).normal(size=(64, 64))).sigma)[4] for seed in range(3)]
    assert spectrum_report(np.eye(64)).energies[4] == pytest.approx(4 / 64)
    assert np.mean(kept) == pytest.approx(1 / 5, abs=0.03)
    return "About a fifth"


def rank_of_what() -> str:
    W0, p = RNG.normal(size=(48, 48)), LoraParams(RNG.normal(size=(48, 8)), RNG.normal(size=(8, 48)))
    assert rank_of(p.B @ p.A) == 8
    assert rank_of(W0 + p.B @ p.A) == rank_of(W0) == 48
    assert rank_of(RNG.normal(size=(48, 64)) @ RNG.normal(size=(64, 48))) == 48  # gYᵀ X of 64 rows
    return "The change ΔW"


def rank_phi_chance() -> str:
    draws = [RNG.normal(size=(64, 64)) for _ in range(12)]
    found = [similarity(svd(one), svd(two), 8, 8, side="right") for one, two in pairwise(draws)]
    assert np.mean(found) == pytest.approx(8 / 64, abs=0.03)
    return str(8 / 64)


def cost_training_step() -> str:
    scene = cost_scene(512, 1024, 1024, 8)
    assert count_share(1024, 8) == pytest.approx(0.016, abs=0.0005)
    assert 1 < scene.step_over("lora-2") < 1.03  # the strips add about 2 %
    return f"About {100 * scene.step_over('lora-2', 'full'):.0f} %"


def count_share(side: int, rank: int) -> float:
    return trained("lora", d=side, k=side, rank=rank) / side**2


def cost_crossover() -> str:
    assert cost_scene(512, 1024, 1024, 1).crossings.forward_rows == 512
    assert cost_scene(512, 1024, 1024, 64).crossings.forward_rows == 512  # whatever the rank
    few, many = cost_scene(16, 1024, 1024, 8), cost_scene(4096, 1024, 1024, 8)
    assert few.costs["lora-1"].forward.flops > few.costs["lora-2"].forward.flops
    assert many.costs["lora-1"].forward.flops < many.costs["lora-2"].forward.flops
    return "From about 512 rows on"


def cost_no_latency() -> str:
    costs = cost_scene(1, 256, 256, 8).costs
    assert costs["merged"].forward.flops == costs["frozen"].forward.flops < costs["lora-2"].forward.flops
    p = LoraParams(RNG.normal(size=(8, 2)), RNG.normal(size=(2, 8)))
    assert np.all(p.B @ p.A != 0)
    return "The increment is already in the weight"


def memory_what_stays() -> str:
    memory = {}
    for method, options in (("lora", {"rank": 8, "targets": "q,v"}), ("full", {})):
        memory[method] = training_memory(count("llama-7b", method, **options), batch=1, seq=512)
    fewer = count("llama-7b", "full").trainable / count("llama-7b", "lora", rank=8, targets="q,v").trainable
    assert fewer == pytest.approx(1600, rel=0.01)
    full, adapted = memory["full"], memory["lora"]
    assert adapted.weights == pytest.approx(13.5e9, rel=0.01)
    assert (full.gradients + full.optimizer) / full.total == pytest.approx(0.80, abs=0.005)
    return f"About {full.total / adapted.total:.0f} times less"


def memory_gqa() -> str:
    each = {name: count("llama-3-8b", "lora", rank=8, targets=name).trainable // 32 for name in "qv"}
    assert f"{each['q']:,}" in ITEMS["memory-gqa"].texts  # the square formula, one of the mistakes
    assert f"{1024 * 4096:,}" in ITEMS["memory-gqa"].texts
    return f"{each['v']:,}"


def memory_file() -> str:
    found = count("gpt3-175b", "lora", rank=4, targets="q,v")
    assert found.trainable == 18_874_368
    size = adapter_file_bytes(found, dtype="float16")
    assert size == pytest.approx(37.7e6, rel=0.002)
    assert found.frozen * 2 == pytest.approx(350e9, rel=0.01)
    return f"About {size / 1e6:.0f} MB"


def layer(scheme: str):
    """A small layer and its gradients at a start."""
    W0, X, gY = RNG.normal(size=(5, 6)), RNG.normal(size=(7, 6)), RNG.normal(size=(7, 5))
    p = lora.init(np.random.default_rng(1), 5, 6, 2, scheme=scheme)
    Z = lora.forward(X, W0, p, scale=1.0)[1]
    return W0, X, gY, p, lora.backward(gY, X, Z, W0, p, scale=1.0)[1]


def train_both_zero() -> str:
    *_, g = layer("both-zero")
    assert not g.B.any()
    assert not g.A.any()
    return "Nothing: both gradients are zero for ever"


def train_mirror_start() -> str:
    first, mirror = layer("kaiming")[-1], layer("zero-A")[-1]
    assert first.B.any()
    assert not first.A.any()
    assert mirror.A.any()
    assert not mirror.B.any()
    return "Which of the two factors moves"


def first_step(alpha: float, lr: float) -> np.ndarray:
    """ΔW after one step of gradient descent from B = 0."""
    rng = np.random.default_rng(2)
    W0, X, gY = rng.normal(size=(5, 6)), rng.normal(size=(7, 6)), rng.normal(size=(7, 5))
    p, s = lora.init(rng, 5, 6, 2), lora.scaling(alpha, 2)
    Z = lora.forward(X, W0, p, scale=s)[1]
    g = lora.backward(gY, X, Z, W0, p, scale=s)[1]
    return s * (p.B - lr * g.B) @ (p.A - lr * g.A)


def train_alpha() -> str:
    step = first_step(4.0, 0.1)
    np.testing.assert_allclose(first_step(8.0, 0.1), 4 * step, rtol=1e-12)
    np.testing.assert_allclose(first_step(4.0, 0.2), 2 * step, rtol=1e-12)
    np.testing.assert_allclose(first_step(8.0, 0.1 / 4), step, rtol=1e-12)  # unless the rate falls with s²
    return "Four times as long"


def train_scale_of_rank() -> str:
    before, after = lora.scaling(16, 8), lora.scaling(16, 64)
    stable = rslora.scaling(16, 8), rslora.scaling(16, 64)
    assert f"It falls from about {stable[0]:.1f} to {stable[1]:g}" in ITEMS["train-scale-of-rank"].texts
    return f"It falls from {before:g} to {after:g}"


def train_same_budget() -> str:
    """The budgets are counted; the accuracies are quoted from the paper's tables 5 and 6."""
    one, four = (
        count("gpt3-175b", "lora", rank=rank, targets=targets).trainable
        for rank, targets in ((8, "q"), (2, "q,k,v,o"))
    )
    assert one == four == pytest.approx(18.9e6, rel=0.002)
    quoted = {"q": 70.4, "q,k,v,o": 73.7}
    assert round(quoted["q,k,v,o"] - quoted["q"], 1) == 3.3
    return "r = 2 on all four"


def merge_bfloat16() -> str:
    merged = rounded(np.array([1.0 + 0.002]), "bfloat16")
    following = rounded(np.array([1.0 + 2**-7]), "bfloat16")
    assert f"{float(following[0]):.4f}"[:6] == "1.0078"
    assert float(rounded(np.array([1.0039]), "bfloat16")[0]) == 1.0  # nothing lies between
    return f"{float(merged[0]):g}"


def merge_unmerge() -> str:
    W0 = RNG.normal(size=(32, 32)).astype(np.float32)
    p = LoraParams(*(RNG.normal(size=shape).astype(np.float32) for shape in ((32, 4), (4, 32))))
    for scale in (1.0, 0.7):
        back = merging.unmerge(merging.merge(W0, p, scale=scale), p, scale=scale)
        assert np.any(back != W0)
        assert np.max(np.abs(back - W0)) < 1e-5
    state = merging.Merged(W0).merge(p, scale=0.7).unmerge()
    assert np.all(state.W == W0)
    return "Only up to the last bits"


def merge_sum_rank() -> str:
    one, two = (RNG.normal(size=(32, r)) @ RNG.normal(size=(r, 32)) for r in (4, 8))
    assert rank_of(one * two) == 32  # ranks multiply where entries do
    return str(rank_of(one + two))


def merge_average_factors() -> str:
    B1, B2, A1, A2 = (RNG.normal(size=shape) for shape in ((8, 2), (8, 2), (2, 8), (2, 8)))
    product = (B1 + B2) / 2 @ (A1 + A2) / 2
    np.testing.assert_allclose(product, (B1 @ A1 + B2 @ A2) / 4 + (B1 @ A2 + B2 @ A1) / 4, rtol=1e-12)
    return "A quarter of both increments, and as much of two cross terms"


def methods_pissa() -> str:
    assert set(taken_over("pissa")) == {"forward", "backward", "scaling", "merge", "unmerge"}
    assert trained("pissa", d=64, k=64, rank=4) == trained("lora", d=64, k=64, rank=4)
    return "Where training starts"


def methods_count_and_rank() -> str:
    side = {"d": 4096, "k": 4096}
    counts = {
        "LoRA with r = 1: no rank is lower": trained("lora", rank=1, **side),
        "VeRA with r = 256": trained("vera", rank=256, **side),
        "OFT in blocks of 8": trained("oft", rank=1, **side),
        "(IA)³, whose increment has full rank": trained("ia3", rank=1, **side),
    }
    for value in counts.values():
        assert f"{value:,}" in ITEMS["methods-count-and-rank"].because
    assert reached_rank("ia3", rank=1) == 24  # full, on the small layer
    return min(counts, key=lambda name: counts[name])


def prune_zeros() -> str:
    """The masked product has the shapes of the whole one."""
    X, W0 = RNG.normal(size=(4, 6)), RNG.normal(size=(8, 6))
    p = LoraParams(np.zeros((8, 2)), np.zeros((2, 6)))
    keep = np.arange(8) % 2 == 0
    Y = masked_forward(X, W0, p, keep, scale=1.0)
    assert Y.shape == (4, 8)
    assert not Y[:, ~keep].any()
    return "Not at all"


def prune_gradient() -> str:
    """g_B A + B g_A − g_B g_A is what one step of both factors does to B A, for a rate of one."""
    B, A, gB, gA = (RNG.normal(size=shape) for shape in ((6, 2), (2, 5), (6, 2), (2, 5)))
    np.testing.assert_allclose(gB @ A + B @ gA - gB @ gA, B @ A - (B - gB) @ (A - gA), rtol=1e-10, atol=1e-12)
    return "Those of B and A, which training has anyway"


def prune_half() -> str:
    small = after_pruning("llama-7b", heads=16, channels=11008 // 2, layers=28)
    return f"{100 * small.total / architecture('llama-7b').total:.0f} %"


def check_alpha_is_r() -> str:
    assert lora.scaling(8, 8) == 1.0
    return "A missing scale α / r"


ANSWERS = {
    function.__name__.replace("_", "-"): function
    for function in (
        rank_promise, rank_random, rank_of_what, rank_phi_chance, cost_training_step, cost_crossover,
        cost_no_latency, memory_what_stays, memory_gqa, memory_file, train_both_zero, train_mirror_start,
        train_alpha, train_scale_of_rank, train_same_budget, merge_bfloat16, merge_unmerge, merge_sum_rank,
        merge_average_factors, methods_pissa, methods_count_and_rank, prune_zeros, prune_gradient, prune_half,
        check_alpha_is_r,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", ITEMS)
def test_the_answer_is_what_the_engine_finds(name):
    assert ITEMS[name].texts[ITEMS[name].answer] == ANSWERS[name]()


# ---- the form of it ------------------------------------------------------------------------------------------------


def test_twenty_five_items_of_four_options_with_one_answer():
    assert len(ITEMS) == len(quiz.items()) == len(ANSWERS) == 25
    for item in quiz.items():
        assert len(set(item.texts)) == 4
        assert sum(not option.mistake for option in item.options) == 1
        assert set(item.id) <= set(string.ascii_lowercase + string.digits + "-")
        assert item.question.endswith("?")
        assert item.because.endswith(".")


def test_every_distractor_says_its_mistake_and_leads_to_a_room():
    for item in quiz.items():
        for option in item.options:
            assert (option.link is None) == (not option.mistake), option.text
            assert not option.mistake or option.mistake.endswith("."), option.mistake
            assert "\n" not in option.mistake


def test_the_answers_do_not_stand_in_one_place():
    places = Counter(item.answer for item in quiz.items())
    assert set(places) == {0, 1, 2, 3}
    assert max(places.values()) <= 10


def test_the_glossary_is_alphabetical_plain_and_sourced():
    terms = quiz.terms()
    assert len(terms) >= 40
    assert [term.name for term in terms] == sorted({term.name for term in terms}, key=str.casefold)
    for term in terms:
        assert term.text.endswith(".")
        assert 1 <= term.text.count(". ") + 1 <= 3
        assert term.equation == "" or term.equation in EQUATIONS
    assert sum(bool(term.equation) for term in terms) >= 25


# ---- links -----------------------------------------------------------------------------------------------------


def links() -> dict[str, quiz.Link]:
    found = [option.link for item in quiz.items() for option in item.options if option.link]
    found += [term.link for term in quiz.terms()]
    return {f"{link.room}?{dict(link.state)}": link for link in found}


KNOWN = {"home", "rank", "cost", "params", "prune", "train", "merge", "subspace", "grad", "optimizer", "methods",
         "report", "inspect"}  # fmt: skip


def test_links_name_rooms_and_rooms_that_are_missing_are_not_shown():
    assert {link.room for link in links().values()} <= KNOWN
    assert quiz.Link("nowhere", {}).title is None
    assert quiz.Link("rank", {}).title == next(room.title for room in ROOMS if room.path == "rank")


@pytest.mark.parametrize("name", [name for name, link in links().items() if link.title and link.state])
def test_the_state_that_a_link_names_is_accepted(name):
    """Its controls exist, and have the values that the link says."""
    link = links()[name]
    app = opened(link.room, dict(link.state))
    assert [e.value for e in app.exception] == []
    shown = controls(app)
    for key, value in link.state.items():
        found = shown[key].value
        written = (
            found
            if isinstance(found, list)
            else [str(found).lower() if isinstance(found, bool) else f"{found}"]
        )
        assert written == (value if isinstance(value, list) else [value]), key


# ---- sessions --------------------------------------------------------------------------------------------------


def answered(app, place: int):
    """Mark an option of the question that is shown, and press."""
    radio = app.radio[0]
    radio.set_value(radio.options[place]).run()
    app.button(key="quiz_give").click()
    return app.run()


def counted(app) -> list[str]:
    return [metric.value for metric in app.metric]


def test_answering_all_right_gives_all_points():
    app = opened("quiz")
    for number, item in enumerate(quiz.items(), start=1):
        assert app.selectbox(key="quiz_item").value == item.id
        answered(app, item.answer)
        assert [e.value for e in app.exception] == []
        assert item.because in app.success[0].value
        assert counted(app) == [f"{number} of 25", f"{number} of {number}"]
        if number < 25:
            app.button(key="quiz_next").click()
            app.run()
    assert not [button for button in app.button if button.key == "quiz_next"]
    app.button(key="quiz_restart").click()
    assert counted(app.run()) == ["0 of 25", "0 of 0"]
    assert app.radio[0].value is None


def test_a_wrong_answer_is_explained_and_counts_once():
    item = ITEMS["memory-gqa"]
    app = opened("quiz", {"quiz_item": item.id})
    place = next(place for place in range(4) if place != item.answer)
    answered(app, place)
    assert item.options[place].mistake in app.warning[0].value
    assert item.texts[item.answer] in app.info[0].value
    assert item.because in app.info[0].value
    others = [option for here, option in enumerate(item.options) if here not in (place, item.answer)]
    said = " ".join(text.value for text in app.markdown)
    assert all(option.mistake in said for option in others)
    assert counted(app) == ["1 of 25", "0 of 1"]
    assert not app.radio  # a question is answered once


def test_pressing_without_a_mark_answers_nothing():
    app = opened("quiz")
    app.button(key="quiz_give").click()
    assert counted(app.run()) == ["0 of 25", "0 of 0"]


def test_a_teacher_reveals_the_answer_and_the_score_waits_with_it():
    item = quiz.items()[0]
    app = opened("quiz", {"teacher": "true"})
    answered(app, item.answer)
    assert not app.success
    assert counted(app) == ["0 of 25", "0 of 0"]
    app.toggle(key=f"quiz_reveal_{item.id}").set_value(True)
    app.run()
    assert app.success
    assert counted(app) == ["1 of 25", "1 of 1"]


def test_a_topic_has_its_questions_and_a_score_of_its_own():
    app = opened("quiz", {"quiz_topic": "Merging"})
    wanted = [item.id for item in quiz.items() if item.topic == "Merging"]
    assert list(app.selectbox(key="quiz_item").options) == wanted
    answered(app, ITEMS[wanted[0]].answer)
    table = quiz.by_topic({wanted[0]: ITEMS[wanted[0]].answer})
    assert sum(table["questions"]) == 25
    assert table["right"][table["topic"].index("Merging")] == table["answered"][4] == 1
    app.selectbox(key="quiz_topic").set_value("Rank")
    assert app.run().selectbox(key="quiz_item").value == "rank-promise"


ABSURD = [None, 7, "abc", [], {1: 2}, {"rank-promise": "x"}, {"rank-promise": 99}, {"rank-promise": -1},
          {"rank-promise": True}, {"no-such": 0}, {"rank-promise": [0]}]  # fmt: skip


@pytest.mark.parametrize("stored", ABSURD, ids=repr)
def test_absurd_session_states_are_passed_over(stored):
    app = opened("quiz")
    app.session_state[quiz.GIVEN] = stored
    app.run()
    assert [e.value for e in app.exception] == []
    assert counted(app) == ["0 of 25", "0 of 0"]
    answered(app, ITEMS["rank-promise"].answer)
    assert counted(app) == ["1 of 25", "1 of 1"]


@pytest.mark.parametrize(
    "search", ["", "rank", "RANK", "  bf16 ", "a" * 5000, "<b>", "[x](y)", "(", "$\\frac", "٣"]
)
def test_any_search_is_safe(search):
    app = opened("quiz", {"quiz_part": "glossary"})
    app.text_input(key="term").set_value(search)
    app.run()
    assert [e.value for e in app.exception] == []
    assert counted(app) == [f"{len(quiz.matching(search))} of {len(quiz.terms())}"]


def test_a_search_finds_names_before_texts():
    found = [term.name for term in quiz.matching("rank")]
    assert found[:3] == ["Effective rank", "Rank", "Stable rank"]
    assert "Alpha (α)" in found
    assert quiz.matching("no such word") == []
    assert len(quiz.matching("")) == len(quiz.terms())


def test_the_glossary_reads_in_both_forms():
    app = opened("quiz", {"quiz_part": "glossary", "term": "bottleneck", "form": "row"})
    assert any("X A" in formula.value for formula in app.latex)
    assert not any("X A^" in formula.value for formula in app.latex)
