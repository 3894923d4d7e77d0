"""Equations of the methods with a low-rank increment, and of those next to them.  Floor 0."""

from lora_np.equations._entry import table

_LORA_PLUS = "Hayou et al., LoRA+, arXiv 2402.12354"
_LORA_FA = "Zhang et al., LoRA-FA, arXiv 2308.03303"
_LORA_XS = "Bałazy et al., LoRA-XS, arXiv 2405.17604"
_VERA = "Kopiczko et al., VeRA, arXiv 2310.11454"
_ADALORA = "Zhang et al., AdaLoRA, arXiv 2303.10512"
_BITFIT = "Zaken et al., BitFit, arXiv 2106.10199"

EQUATIONS = table(
    (
        "lora-plus-step",
        r"A \leftarrow A - \eta\,g_A,\quad B \leftarrow B - \lambda\,\eta\,g_B",
        None,
        "One step with two rates: B, which starts at zero and touches the output, moves faster.",
        f"{_LORA_PLUS}; B touches the output in the row form too",
    ),
    (
        "lora-plus-adam",
        r"A \leftarrow A - \eta\,\mathrm{Adam}(g_A),\quad B \leftarrow B - \lambda\,\eta\,\mathrm{Adam}(g_B)",
        None,
        "The same with processed gradients; the ratio stands outside Adam, which would divide it out.",
        _LORA_PLUS,
    ),
    (
        "lora-fa-layer",
        r"W = W_0 + s\,B A,\quad A\ \text{frozen}",
        r"W = W_0 + s\,A B,\quad A\ \text{frozen}",
        "LoRA with the down-projection left as it was drawn: only B learns.",
        _LORA_FA,
    ),
    (
        "lora-fa-grad",
        r"g_B = s\,g_Y^\top Z,\quad g_X = g_Y W_0 + s\,(g_Y B)\,A,\quad Z = X A^\top",
        r"g_B = s\,Z^\top g_Y,\quad g_X = g_Y W_0^\top + s\,(g_Y B^\top) A^\top,\quad Z = X A",
        "With A frozen the backward needs the narrow bottleneck only, never the wide input.",
        _LORA_FA,
    ),
    (
        "lora-fa-correction",
        r"\hat g_B = \tfrac{1}{s^2}\,g_B\,(A A^\top + \delta I)^{-1}",
        r"\hat g_B = \tfrac{1}{s^2}\,(A^\top A + \delta I)^{-1} g_B",
        "The step of B that brings the step of s B A nearest to the full gradient; a small damping keeps it finite.",
        f"{_LORA_FA} (second version), with the damping of PEFT's optimizer",
    ),
    (
        "lora-xs-layer",
        r"W = W_0 + B R A,\quad R \in \mathbb{R}^{r \times r}",
        r"W = W_0 + A R B",
        "A small square matrix is trained between two frozen factors.",
        _LORA_XS,
    ),
    (
        "lora-xs-init",
        r"W_0 = U \Sigma V^\top,\quad B = U_r,\quad A = \Sigma_r V_r^\top,\quad R_{ij} \sim \mathcal{N}(0, \sigma_R^2)",
        r"W_0 = U \Sigma V^\top,\quad A = U_r \Sigma_r,\quad B = V_r^\top,\quad R_{ij} \sim \mathcal{N}(0, \sigma_R^2)",
        "The frozen factors are the strongest directions of the weight, their strengths on the input's side.",
        f"{_LORA_XS}; width 1e-5 in the authors' code",
    ),
    (
        "lora-xs-grad",
        r"g_R = (g_Y B)^\top Z,\quad g_X = g_Y W_0 + (g_Y B)\,R A,\quad Z = X A^\top",
        r"g_R = Z^\top (g_Y B^\top),\quad g_X = g_Y W_0^\top + (g_Y B^\top)\,R^\top A^\top,\quad Z = X A",
        "The gradient of R is read off the two bottlenecks.",
        f"chain rule on {_LORA_XS}",
    ),
    (
        "vera-layer",
        r"W = W_0 + \Lambda_b\,B\,\Lambda_d\,A,\quad "
        r"\Lambda_b = \mathrm{diag}(\lambda_b),\ \Lambda_d = \mathrm{diag}(\lambda_d)",
        r"W = W_0 + A\,\Lambda_d\,B\,\Lambda_b",
        "Two vectors scale the outputs and the ranks of a frozen random pair.",
        f"{_VERA}, eq. 2",
    ),
    (
        "vera-grad",
        r"g_{\lambda_b} = \big(g_Y^\top (Z \Lambda_d) \odot B\big) 1,\quad g_U = (g_Y \Lambda_b) B,\quad "
        r" g_{\lambda_d} = (g_U \odot Z)^\top 1,\quad g_X = g_Y W_0 + (g_U \Lambda_d) A",
        None,
        "Each vector's gradient is a sum of products entry by entry: of outputs for one, of ranks for the other.",
        f"chain rule on {_VERA}, eq. 2",
    ),
    (
        "vera-init",
        r"\lambda_b = 0,\quad \lambda_d = d_0,\quad A_{ij} \sim \mathcal{U}\big(\pm\sqrt{6/k}\big),\quad "
        r" B_{ij} \sim \mathcal{U}\big(\pm\sqrt{6/r}\big)",
        None,
        "The increment starts at zero; the frozen pair is drawn by Kaiming's rule and comes back from its seed.",
        f"{_VERA}; gain sqrt(2) in PEFT",
    ),
    (
        "vera-cut",
        r"B_{\text{layer}} = B_{1..d,\,\cdot},\quad A_{\text{layer}} = A_{\cdot,\,1..k}",
        r"A_{\text{layer}} = A_{1..k,\,\cdot},\quad B_{\text{layer}} = B_{\cdot,\,1..d}",
        "A layer cuts its pair out of the shared one: the first rows of B, the first columns of A.",
        "PEFT, tuners/vera",
    ),
    (
        "adalora-layer",
        r"W = W_0 + s\,P \Lambda Q,\quad \Lambda = \mathrm{diag}(\lambda)",
        r"W = W_0 + s\,Q^\top \Lambda P^\top",
        "The increment has the form of a singular value decomposition whose three factors are trained.",
        f"{_ADALORA}, eq. 3",
    ),
    (
        "adalora-scale",
        r"s = \alpha / (r + 10^{-5})",
        None,
        "The scale of the released code: the rank is the one at the start, and a constant guards the division.",
        "QingruZhang/AdaLoRA and PEFT; the paper has none",
    ),
    (
        "adalora-init",
        r"\lambda = 0,\quad P_{ij}, Q_{ij} \sim \mathcal{N}(0, \sigma^2)",
        None,
        "The increment starts at zero, and the directions are random.",
        f"{_ADALORA}, section 3.1; width 0.02 in the authors' code",
    ),
    (
        "adalora-grad",
        r"g_U = s\,g_Y P,\quad g_P = s\,g_Y^\top (Z \Lambda),\quad g_\lambda = (g_U \odot Z)^\top 1,\quad "
        r" g_Q = (g_U \Lambda)^\top X,\quad g_X = g_Y W_0 + (g_U \Lambda)\,Q",
        None,
        "Through the bottleneck as in LoRA, with the diagonal between the two factors.",
        f"chain rule on {_ADALORA}, eq. 3",
    ),
    (
        "adalora-penalty",
        r"R(P, Q) = \lVert P^\top P - I \rVert_F^2 + \lVert Q Q^\top - I \rVert_F^2",
        None,
        "The penalty is zero where the columns of P and the rows of Q are orthonormal.",
        f"{_ADALORA}, eq. 4",
    ),
    (
        "adalora-penalty-grad",
        r"\nabla_P R = 4\,P\,(P^\top P - I),\quad \nabla_Q R = 4\,(Q Q^\top - I)\,Q",
        None,
        "The penalty pulls each factor along its own Gram matrix's distance from the identity.",
        f"derivative of {_ADALORA}, eq. 4",
    ),
    (
        "adalora-sensitivity",
        r"I(w) = \lvert w\,\partial\mathcal{L}/\partial w \rvert",
        None,
        "The first-order change of the loss if a number were set to zero.",
        f"{_ADALORA}, eq. 8",
    ),
    (
        "adalora-smoothing",
        r"\bar I_t = \beta_1 \bar I_{t-1} + (1-\beta_1) I_t,\quad "
        r" \bar U_t = \beta_2 \bar U_{t-1} + (1-\beta_2)\,\lvert I_t - \bar I_t \rvert",
        None,
        "Average the sensitivity over steps, and how far each step strays from that average.",
        f"{_ADALORA}, eqs. 9 and 10",
    ),
    (
        "adalora-score",
        r"S_i = s(\lambda_i) + \tfrac{1}{d} \sum_{j=1}^{d} s(P_{ji}) + \tfrac{1}{k} \sum_{j=1}^{k} s(Q_{ij}),\quad "
        r" s = \bar I \odot \bar U",
        None,
        "A triplet's score adds that of its singular value to the averages over its two vectors.",
        f"{_ADALORA}, eqs. 7 and 11",
    ),
    (
        "adalora-budget",
        r"b(t) = \Big\lfloor b_T + (b_0 - b_T)\Big(1 - \frac{t - t_i}{T - t_f - t_i}\Big)^3 \Big\rfloor,"
        r"\quad t_i < t < T - t_f",
        None,
        "The number of triplets falls along a cubic, from the initial budget after a warm-up to the final one.",
        f"{_ADALORA}, eq. 12, with the numerator of the authors' code",
    ),
    (
        "adalora-keep",
        r"\lambda_i \leftarrow \lambda_i \ \text{if}\ S_i\ \text{is among the}\ b(t)\ \text{largest of all layers,"
        r" else}\ 0",
        None,
        "The best triplets of all layers together keep their singular value; the others can come back.",
        f"{_ADALORA}, eq. 6",
    ),
    (
        "symmetric-grad",
        r"g_B = s\,g_Y^\top (X A^\top),\quad g_A = s\,(g_Y B)^\top X,\quad "
        r" g_X = g_Y W_0 + s\,(g_Y B) A - s\,(g_Y B_0) A_0",
        r"g_B = s\,(X A)^\top g_Y,\quad g_A = s\,X^\top (g_Y B^\top),\quad "
        r" g_X = g_Y W_0^\top + s\,(g_Y B^\top) A^\top - s\,(g_Y B_0^\top) A_0^\top",
        "The factors' gradients are LoRA's, and neither vanishes at the start; the input's sees the subtracted pair.",
        "chain rule on kexue.fm 9590, eq. for non-zero A_0 and B_0 (seed 001)",
    ),
    (
        "bitfit-layer",
        r"Y = X W_0^\top + 1\,b^\top,\quad \text{only}\ b\ \text{trained}",
        r"Y = X W_0 + 1\,b,\quad \text{only}\ b\ \text{trained}",
        "The weight stays; the bias learns.",
        _BITFIT,
    ),
    (
        "bitfit-grad",
        r"g_b = g_Y^\top 1,\quad g_X = g_Y W_0",
        r"g_b = 1^\top g_Y,\quad g_X = g_Y W_0^\top",
        "The bias's gradient is the sum of the rows; no input is needed for it.",
        f"chain rule on {_BITFIT}",
    ),
)
