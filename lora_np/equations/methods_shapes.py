"""Equations of the methods that reshape, split or turn the weight: DoRA to OFT.  Floor 0."""

from lora_np.equations._entry import table

_DORA = "Liu et al., DoRA, arXiv 2402.09353"
_PISSA = "Meng et al., PiSSA, arXiv 2404.02948"
_MILORA = "Wang et al., MiLoRA, arXiv 2406.09044"
_OLORA = "Büyükakyüz, OLoRA, arXiv 2406.01775"
_LOHA = "Hyeon-Woo et al., FedPara, arXiv 2108.06098"
_LOKR = "Yeh et al., LyCORIS, arXiv 2309.14859"
_IA3 = "Liu et al., (IA)³, arXiv 2205.05638"
_OFT = "Qiu et al., OFT, arXiv 2306.07280"
_OFT2 = "Qiu et al., OFTv2, arXiv 2506.19847"

EQUATIONS = table(
    (
        "dora-weight",
        r"W = \mathrm{diag}\Big(\frac{m}{\lVert V \rVert_{\mathrm{row}}}\Big)\,V,\quad V = W_0 + s\,B A,"
        r"\quad m \leftarrow \lVert W_0 \rVert_{\mathrm{row}}",
        r"W = V\,\mathrm{diag}\Big(\frac{m}{\lVert V \rVert_{\mathrm{column}}}\Big),\quad V = W_0 + s\,A B,"
        r"\quad m \leftarrow \lVert W_0 \rVert_{\mathrm{column}}",
        "Low-rank factors turn each output's row of the weight, and one number for each row sets its length.",
        f"{_DORA}, eq. 5; the norm of an output's weights, as in the released code",
    ),
    (
        "dora-grad-m",
        r"g_m = \sum_j \big(g_W \odot D\big)_{\cdot j},\quad D = \mathrm{diag}(\lVert V \rVert)^{-1} V",
        None,
        "A length is pulled by the part of the weight's gradient that lies along its row.",
        f"{_DORA}, section 4.2, the gradient of the magnitude",
    ),
    (
        "dora-grad-detached",
        r"g_V = \mathrm{diag}\Big(\frac{m}{\lVert V \rVert}\Big)\,g_W",
        None,
        "With the norm held constant, the direction gets the weight's gradient, scaled row by row: not the gradient "
        "of the layer, but what is trained.",
        f"{_DORA}, section 4.3",
    ),
    (
        "dora-grad-attached",
        r"g_V = \mathrm{diag}\Big(\frac{m}{\lVert V \rVert}\Big)\,\big(g_W - \mathrm{diag}(g_m)\,D\big)",
        None,
        "The true gradient of a direction has no part along the row: only the length can follow that.",
        f"{_DORA}, section 4.2, the gradient of the direction",
    ),
    (
        "dora-unmerge",
        r"W_0 = \mathrm{diag}\Big(\frac{\lVert V \rVert}{m}\Big)\,W - s\,B A",
        r"W_0 = W\,\mathrm{diag}\Big(\frac{\lVert V \rVert}{m}\Big) - s\,A B",
        "A merged weight has forgotten the length its rows had: it comes back only with that length, and where m is "
        "not zero.",
        f"{_DORA}, eq. 5 solved for the base",
    ),
    (
        "pissa-start",
        r"W_0 = U \Sigma V^\top,\quad B = U_r \sqrt{\Sigma_r / s},\quad A = \sqrt{\Sigma_r / s}\,V_r^\top,\quad "
        r" W_{\mathrm{base}} = W_0 - s\,B A",
        None,
        "Train the strongest directions of the weight, and freeze what is left of it.",
        f"{_PISSA}, section 3, for s = 1; the released initialization divides by s",
    ),
    (
        "milora-start",
        r"W_0 = U \Sigma V^\top,\quad B = U_m \sqrt{\Sigma_m / s},\quad A = \sqrt{\Sigma_m / s}\,V_m^\top,\quad "
        r" W_{\mathrm{base}} = W_0 - s\,B A",
        None,
        "Train the weakest directions of the weight, and freeze the strong ones.",
        f"{_MILORA}, method section, for s = 1; with s as in PiSSA",
    ),
    (
        "olora-start",
        r"W_0 = Q R,\quad B = Q_{:,1 \ldots r},\quad A = R_{1 \ldots r,:},\quad W_{\mathrm{base}} = W_0 - s\,B A",
        None,
        "Start from an orthonormal basis of the first columns, and take s times its share out of the weight.",
        f"{_OLORA}; the factor s as in its author's code",
    ),
    (
        "start-increment",
        r"W_{\mathrm{base}} + s\,B A = W_0 + s\,(B A - B_0 A_0) = W_0 + s\,[\,B\ \ {-B_0}\,]"
        r"\begin{bmatrix} A \\ A_0 \end{bmatrix}",
        r"W_{\mathrm{base}} + s\,A B = W_0 + s\,(A B - A_0 B_0) = W_0 + s\,[\,A\ \ A_0\,]"
        r"\begin{bmatrix} B \\ {-B_0} \end{bmatrix}",
        "Against the original weight the increment is what training changed, one LoRA of twice the rank.",
        f"{_PISSA}, appendix on sharing; seed 001, the shifted weight",
    ),
    (
        "loha-delta",
        r"\Delta W = s\,(B_1 A_1) \odot (B_2 A_2),\quad \mathrm{rank}\,\Delta W \le r^2",
        r"\Delta W = s\,(A_1 B_1) \odot (A_2 B_2),\quad \mathrm{rank}\,\Delta W \le r^2",
        "Multiply two low-rank matrices entry by entry: the ranks multiply too.",
        f"{_LOHA}, proposition 1; {_LOKR}",
    ),
    (
        "loha-grad",
        r"g_{B_1} = s\,(g_W \odot B_2 A_2)\,A_1^\top,\quad g_{A_1} = s\,B_1^\top (g_W \odot B_2 A_2),"
        r"\quad g_{B_2} = s\,(g_W \odot B_1 A_1)\,A_2^\top,\quad g_{A_2} = s\,B_2^\top (g_W \odot B_1 A_1)",
        None,
        "Each product sees the weight's gradient multiplied by the other.",
        "product rule on the LoHa increment",
    ),
    (
        "lokr-delta",
        r"\Delta W = s\,C \otimes D,\quad C \in \mathbb{R}^{d_1 \times k_1},\ D = B A \in \mathbb{R}^{d_2 \times k_2},"
        r"\quad \mathrm{rank}(C \otimes D) = \mathrm{rank}\,C \cdot \mathrm{rank}\,D",
        None,
        "Repeat a small block over the weight, multiplied each time by one entry of another small matrix.",
        f"{_LOKR}, LoKr",
    ),
    (
        "lokr-vec",
        r"(C \otimes D)\,\mathrm{vec}(X) = \mathrm{vec}(C X D^\top),\quad X \in \mathbb{R}^{k_1 \times k_2}"
        r"\ \text{row after row}",
        None,
        "Lay the input out as a small matrix, and the Kronecker product is two small products.",
        "the vec identity in row-major order",
    ),
    (
        "lokr-grad",
        r"g_C = \sum_n g_{T_n} Z_n^\top,\quad g_{Z_n} = C^\top g_{T_n},\quad g_D = \sum_n g_{Z_n}^\top X_n,"
        r"\quad g_{X_n} = g_{Z_n} D,\quad T_n = s\,C Z_n,\ Z_n = X_n D^\top",
        None,
        "Pull back through the two small products, one after the other.",
        "chain rule on the vec identity",
    ),
    (
        "lokr-split",
        r"n = m\,\frac{n}{m},\quad m = \max\{\,m : m \mid n,\ m \le \sqrt{n},\ m \le f\,\}",
        None,
        "Split a size into two whole factors, as near to its root as the chosen factor allows.",
        f"{_LOKR}, LoKr: the factor u of p",
    ),
    (
        "ia3-output",
        r"Y = (X W_0^\top + b)\,\mathrm{diag}(l),\quad l \in \mathbb{R}^d",
        r"Y = (X W_0 + b)\,\mathrm{diag}(l),\quad l \in \mathbb{R}^m",
        "Multiply every output of a layer, keys and values, by a number of its own.",
        f"{_IA3}, section 3.3",
    ),
    (
        "ia3-input",
        r"Y = X\,\mathrm{diag}(l)\,W_0^\top + b,\quad l \in \mathbb{R}^k",
        r"Y = X\,\mathrm{diag}(l)\,W_0 + b,\quad l \in \mathbb{R}^n",
        "Multiply every input of the second feed-forward layer by a number of its own.",
        f"{_IA3}, section 3.3",
    ),
    (
        "ia3-grad",
        r"g_l = \sum_n g_{S,n} \odot H_n,\quad S = l \odot H",
        None,
        "A factor's gradient is that of what it scaled, times what it was scaled from, summed over the batch.",
        "product rule",
    ),
    (
        "ia3-merge",
        r"W = \mathrm{diag}(l)\,W_0,\ b' = l \odot b\quad\text{or}\quad W = W_0\,\mathrm{diag}(l),\ b' = b",
        r"W = W_0\,\mathrm{diag}(l),\ b' = l \odot b\quad\text{or}\quad W = \mathrm{diag}(l)\,W_0,\ b' = b",
        "The factors go into the weight and come out again, unless one of them is zero.",
        f"{_IA3}, section 3.3",
    ),
    (
        "oft-weight",
        r"W = W_0\,\mathrm{blockdiag}(R_1, \ldots, R_n),\quad R_i R_i^\top = I,\quad Q_i = -Q_i^\top",
        r"W = \mathrm{blockdiag}(R_1, \ldots, R_n)^\top W_0,\quad R_i R_i^\top = I,\quad Q_i = -Q_i^\top",
        "Rotate the inputs of the weight in blocks: angles between its rows stay as they are.",
        f"{_OFT}, section 3, with the weight transposed",
    ),
    (
        "oft-cayley",
        r"R = (I - Q)(I + Q)^{-1} = \big((I + Q)(I - Q)^{-1}\big)^\top",
        None,
        "Cayley's formula makes a rotation of every skew-symmetric matrix; the paper's letter is its transpose.",
        f"{_OFT}, section 3; the weight there stands transposed",
    ),
    (
        "oft-neumann",
        r"R_5 = I - 2Q + 2Q^2 - 2Q^3 + Q^4 = (I - Q)^2 (I + Q^2) = R\,(I - Q^4)",
        None,
        "Five terms of the power series: no solve, and orthogonal only up to the fourth power of Q.",
        f"{_OFT2}, Cayley-Neumann parameterization, with the weight transposed",
    ),
    (
        "oft-grad",
        r"g_R = g_S^\top X\ \text{in each block},\ g_S = g_Y W_0,\quad g_Q = -(I - Q)^{-1} g_R\,(I + R)^\top,"
        r"\quad g_q = g_Q - g_Q^\top\ \text{above the diagonal}",
        None,
        "Pull back through the solve: one more solve with the transposed matrix.",
        r"differentiating (I + Q) R = I - Q",
    ),
    (
        "oft-neumann-grad",
        r"R_5 = I - Q H_3,\ H_{i+1} = 2I - Q H_i,\ H_1 = 2I - Q:\quad "
        r" g_Q = -\sum_{i=0}^{3} Q^i g_R H_{3-i}^\top,\quad H_0 = I",
        None,
        "Pull back through Horner's scheme, one factor of Q at a time.",
        "product rule on the nested form",
    ),
)
