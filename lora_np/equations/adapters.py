"""Equations of several adapters on one base: combining, merging, swapping, batches that mix them.  Floor 0.

t counts adapters, each with its own scale s_t and weight w_t; i and j count them too where two meet.
"""

from lora_np.equations._entry import table

_LORA = "Hu et al., LoRA, arXiv 2106.09685"
_TIES = "Yadav et al., TIES-Merging, arXiv 2306.01708"
_DARE = "Yu et al., Language Models are Super Mario (DARE), arXiv 2311.03099"
_PEFT = "PEFT's add_weighted_adapter"
_OURS = "derived here"

EQUATIONS = table(
    # ---- combining ----
    (
        "combine-sum",
        r"\Delta W = \sum_t \tau_t,\quad \tau_t = w_t\, s_t\, B_t A_t",
        r"\Delta W = \sum_t \tau_t,\quad \tau_t = w_t\, s_t\, A_t B_t",
        "The sum that combining aims at: every increment with its own scale, times its weight.",
        f"Ilharco et al., Editing models with task arithmetic, arXiv 2212.04089; {_PEFT}",
    ),
    (
        "combine-cat",
        r"\sum_t w_t s_t B_t A_t = [\,w_1 s_1 B_1\ \ w_2 s_2 B_2\ \cdots]"
        r"\begin{bmatrix} A_1 \\ A_2 \\ \vdots \end{bmatrix}",
        r"\sum_t w_t s_t A_t B_t = [\,A_1\ \ A_2\ \cdots]"
        r"\begin{bmatrix} w_1 s_1 B_1 \\ w_2 s_2 B_2 \\ \vdots \end{bmatrix}",
        "Factors side by side make the exact sum, at the sum of the ranks.",
        f"block product; {_PEFT}, cat",
    ),
    (
        "combine-svd",
        r"\min_{\operatorname{rank} M \le r} \Big\| \sum_t \tau_t - M \Big\|_F"
        r" = \sqrt{\sigma_{r+1}^2 + \sigma_{r+2}^2 + \cdots}",
        None,
        "The nearest increment of a chosen rank keeps the strongest directions of the sum; its error is the tail.",
        f"Eckart and Young; {_PEFT}, svd",
    ),
    (
        "combine-linear",
        r"B = \sum_t a_t B_t,\quad A = \sum_t \operatorname{sgn}(w_t s_t)\, a_t A_t,\quad a_t = \sqrt{|w_t s_t|}",
        None,
        "Adding factor to factor: cheap, of the old rank, and not the sum of the increments.",
        f"{_PEFT}, linear",
    ),
    (
        "combine-linear-cross",
        r"B A - \sum_t w_t s_t B_t A_t = \sum_{i \ne j} \operatorname{sgn}(w_j s_j)\, a_i a_j\, B_i A_j",
        r"A B - \sum_t w_t s_t A_t B_t = \sum_{i \ne j} \operatorname{sgn}(w_j s_j)\, a_i a_j\, A_j B_i",
        "What adding factors brings in beside the sum: each adapter's output factor meets the others' input factors.",
        _OURS,
    ),
    (
        "combine-trim",
        r"\hat\tau = \tau \odot \mathbb{1}\big[\,\operatorname{rank}(|\tau|) \le \lfloor \rho\, d k \rfloor\,\big]",
        None,
        "Keep the share rho of the entries that are largest in absolute value; the rest become zero.",
        f"{_TIES}, section 4, step 1",
    ),
    (
        "combine-magnitude",
        r"\Delta W = \sum_t \hat\tau_t",
        None,
        "Trim each increment by magnitude, then add.",
        f"{_PEFT}, magnitude_prune",
    ),
    (
        "combine-ties-elect",
        r"\gamma = \operatorname{sgn}\Big(\sum_t \hat\tau_t\Big)",
        None,
        "Each entry's sign is the one with the greater mass over all trimmed increments.",
        f"{_TIES}, section 4, step 2",
    ),
    (
        "combine-ties",
        r"\Delta W_{ij} = \frac{1}{|\mathcal{A}_{ij}|} \sum_{t \in \mathcal{A}_{ij}} \hat\tau_{t,ij},\quad "
        r" \mathcal{A}_{ij} = \{t : \operatorname{sgn} \hat\tau_{t,ij} = \gamma_{ij} \ne 0\}",
        None,
        "Average, entry by entry, those increments alone whose sign is the elected one.",
        f"{_TIES}, section 4, step 3",
    ),
    (
        "combine-dare",
        r"\tilde\tau_t = \frac{M_t \odot \tau_t}{\rho},\quad M_{t,ij} \sim \operatorname{Bernoulli}(\rho),\quad "
        r" \operatorname{E}[\tilde\tau_t] = \tau_t",
        None,
        "Drop entries at random and blow the others up by the same share: right on average.",
        f"{_DARE}, section 3.2, with rho = 1 - p",
    ),
    # ---- several on one base ----
    (
        "adapters-merge",
        r"W = W_0 + \sum_t s_t B_t A_t",
        r"W = W_0 + \sum_t s_t A_t B_t",
        "Several increments add to one weight; no order is better than another.",
        f"{_LORA}, section 4.1, for more than one task",
    ),
    (
        "adapters-swap",
        r"W' = W_0 + s' B' A' = W - s B A + s' B' A'",
        r"W' = W_0 + s' A' B' = W - s A B + s' A' B'",
        "To change task, take one increment out and put the other in.",
        f"{_LORA}, section 4.1",
    ),
    (
        "adapters-bank",
        r"Y = X \Big(W_0 + \sum_{t \in \mathrm{merged}} s_t B_t A_t\Big)^\top"
        r" + \sum_{t \in \mathrm{active} \setminus \mathrm{merged}} s_t\, (X A_t^\top)\, B_t^\top",
        r"Y = X \Big(W_0 + \sum_{t \in \mathrm{merged}} s_t A_t B_t\Big)"
        r" + \sum_{t \in \mathrm{active} \setminus \mathrm{merged}} s_t\, (X A_t)\, B_t",
        "Merging decides where an active increment is added, never whether.",
        _OURS,
    ),
    (
        "adapters-mixed",
        r"y_n = W_0 x_n + s_{t(n)}\, B_{t(n)}\,(A_{t(n)} x_n)",
        r"y_n = x_n W_0 + s_{t(n)}\,(x_n A_{t(n)})\, B_{t(n)}",
        "Unmerged, every row of a batch may have an adapter of its own, and all share the frozen product.",
        f"{_LORA}, section 4.1, whose limitation this lifts (seed 002)",
    ),
    (
        "adapters-mixed-grad",
        r"g_{B_t} = s_t \sum_{n : t(n) = t} (g_Y)_n^\top Z_n,\quad "
        r" g_{A_t} = s_t \sum_{n : t(n) = t} B_t^\top (g_Y)_n^\top X_n",
        r"\frac{\partial\mathcal{L}}{\partial B_t} = s_t \sum_{n : t(n) = t} Z_n^\top (g_Y)_n,\quad "
        r" \frac{\partial\mathcal{L}}{\partial A_t} = s_t \sum_{n : t(n) = t} X_n^\top (g_Y)_n B_t^\top",
        "An adapter learns from its own rows only.",
        "chain rule",
    ),
    # ---- what an increment is like ----
    (
        "increment-thin",
        r"B = Q R,\quad A^\top = P T,\quad s B A = Q\,(s\, R T^\top)\,P^\top,\quad "
        r"\sigma_i(s B A) = \sigma_i(s\, R T^\top)",
        r"B^\top = Q R,\quad A = P T,\quad s A B = P\,(s\, T R^\top)\,Q^\top,\quad "
        r"\sigma_i(s A B) = \sigma_i(s\, T R^\top)",
        "The increment's spectrum is that of a core as small as the rank: the large product is never formed.",
        "QR of both factors; Golub and Van Loan, Matrix Computations, section 5.2",
    ),
    (
        "increment-relative",
        r"\frac{\lVert \Delta W \rVert_F}{\lVert W_0 \rVert_F}",
        None,
        "How large the increment is beside the frozen weight.",
        f"the norms of {_LORA}, section 7.3",
    ),
    (
        "increment-cut",
        r"r_E = \min\Big\{ r' : \sum_{i \le r'} \sigma_i^2 \ge E \sum_i \sigma_i^2 \Big\},\quad "
        r"(r - r_E)(d + k)\ \text{numbers saved}",
        None,
        "The smallest rank that keeps a share E of the increment's energy, and what cutting to it saves.",
        "follows from Eckart and Young 1936",
    ),
    (
        "increment-cosine",
        r"\cos = \frac{\langle \Delta W_1, \Delta W_2 \rangle}{\lVert \Delta W_1 \rVert_F \lVert \Delta W_2 \rVert_F},"
        r"\quad \langle \Delta W_1, \Delta W_2 \rangle"
        r" = \sum_{i,j} \sigma_i \tau_j\, (u_{1i}^\top u_{2j})(v_{1i}^\top v_{2j})",
        None,
        "Do two increments push the weight the same way? 1 is the same way, -1 the opposite, 0 neither.",
        "trace of a product of two products; " + _OURS,
    ),
    (
        "increment-chance",
        r"\operatorname{E}\cos^2 = \frac{1}{d\,k}\quad\text{for random directions}",
        None,
        "Chance alone makes two increments nearly orthogonal, the more so the larger the weight.",
        _OURS,
    ),
    (
        "increment-rounded",
        r"W = \operatorname{fl}\big(\operatorname{fl}(W_0) + s B A\big),\quad "
        r"\text{lost} = \frac{\lVert W - (\operatorname{fl}(W_0) + s B A) \rVert_F}{\lVert s B A \rVert_F}",
        r"W = \operatorname{fl}\big(\operatorname{fl}(W_0) + s A B\big),\quad "
        r"\text{lost} = \frac{\lVert W - (\operatorname{fl}(W_0) + s A B) \rVert_F}{\lVert s A B \rVert_F}",
        "A merge in 16 bits rounds the sum to steps of the weight's size, which may be coarse beside the increment.",
        "IEEE 754, round to nearest, ties to even",
    ),
    (
        "increment-unchanged",
        r"|\Delta W_{ij}| < \tfrac{1}{2}\operatorname{ulp}_\downarrow(W_{0,ij})\ \Rightarrow\ W_{ij} = W_{0,ij}",
        None,
        "An entry of the increment below half the weight's own step is lost whole (the smaller of its two steps at a "
        "power of two).",
        "IEEE 754, round to nearest",
    ),
)
