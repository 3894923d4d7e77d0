"""Equations of rank: its rules, factorizations, the singular values, and the rank of an increment.  Floor 0."""

from lora_np.equations._entry import table

_INTRO = "LoRA: 0 to 100, low-rank factorization (seed 004)"
_TOGETHER = "LoRA: 0 to 100, putting LoRA together (seed 004)"
_CHOOSING = "LoRA: 0 to 100, choosing the dimensions (seed 004)"
_ASTARAG = "Astarag Mohapatra, LoRA paper in depth (seed 002)"
_GOLUB = "Golub and Van Loan, Matrix Computations"

EQUATIONS = table(
    # ---- what rank is --------------------------------------------------------------------------------------
    (
        "rank-example-1",
        r"A = \begin{bmatrix} 1 & 2 & 3 \\ 2 & 4 & 6 \\ 3 & 6 & 9 \end{bmatrix},\quad \operatorname{rank}(A) = 1",
        None,
        "Every column is a multiple of the first, so one vector says it all.",
        _INTRO,
    ),
    (
        "rank-example-2",
        r"B = \begin{bmatrix} 1 & 1 & 1 \\ 1 & 2 & 3 \\ 2 & 4 & 6 \end{bmatrix},\quad \operatorname{rank}(B) = 2",
        None,
        "The third row is twice the second, and no combination of those two gives the first.",
        _INTRO,
    ),
    (
        "rank-full",
        r"\operatorname{rank}(A) = \min(m, n)",
        None,
        "A matrix has full rank when its rank is as large as its shape allows.",
        _INTRO,
    ),
    (
        "rank-low",
        r"\operatorname{rank}(A) \ll \min(m, n)",
        None,
        "A matrix has low rank when its rank is far below what its shape allows.",
        _INTRO,
    ),
    (
        "rank-bound",
        r"\operatorname{rank}(A) \le \min(m, n)",
        None,
        "The rank is at most the number of rows and at most the number of columns.",
        _INTRO,
    ),
    (
        "rank-product",
        r"\operatorname{rank}(A B) \le \min\big(\operatorname{rank}(A), \operatorname{rank}(B)\big)",
        None,
        "A product has no more rank than the lesser of its factors.",
        _INTRO,
    ),
    (
        "rank-numerical",
        r"\operatorname{rank}_\tau(M) = \#\{i : \sigma_i > \tau\},\quad \tau = \max(m, n)\,\varepsilon\,\sigma_1",
        None,
        "Of a matrix of floats, count the singular values that rounding alone cannot explain.",
        f"{_GOLUB}, section 5.5.8",
    ),
    # ---- rank factorization, three ways --------------------------------------------------------------------
    (
        "rank-factorization",
        r"A = B C,\quad B \in \mathbb{R}^{m \times r},\ C \in \mathbb{R}^{r \times n},\ r = \operatorname{rank}(A)",
        None,
        "A matrix of rank r is a product of two factors that are r wide, both of full rank.",
        _INTRO,
    ),
    (
        "rank-factorization-example",
        r"\begin{bmatrix} 1 & 2 & 3 \\ 2 & 4 & 6 \\ 3 & 6 & 9 \end{bmatrix}"
        r" = \begin{bmatrix} 1 \\ 2 \\ 3 \end{bmatrix} \begin{bmatrix} 1 & 2 & 3 \end{bmatrix}",
        None,
        "Nine numbers of rank 1 written as three times three.",
        _INTRO,
    ),
    (
        "rank-rref",
        r"M = M_{\cdot S}\, C,\quad C_{\cdot S} = I_r",
        None,
        "Elimination picks r columns S of the matrix itself; C says how they combine into all of its columns.",
        f"{_GOLUB}, section 3.2",
    ),
    (
        "rank-qr",
        r"M P = Q R,\quad Q^\top Q = I,\ |R_{11}| \ge |R_{22}| \ge \dots",
        None,
        "QR with column pivoting: the longest remaining column next, so the diagonal of R falls and shows the rank.",
        f"{_GOLUB}, section 5.4.2",
    ),
    (
        "rank-householder",
        r"(I - \tau\, v v^\top)\,x = \mp\lVert x \rVert e_1,\quad "
        r"v = \frac{x \pm \lVert x \rVert e_1}{x_1 \pm \lVert x \rVert},\quad \tau = \frac{2}{v^\top v}",
        None,
        "A reflection that lays a vector onto the first axis.",
        f"{_GOLUB}, section 5.1.2",
    ),
    # ---- singular values -----------------------------------------------------------------------------------
    (
        "rank-svd",
        r"M = U \Sigma V^\top,\quad U^\top U = V^\top V = I,\ \sigma_1 \ge \sigma_2 \ge \dots \ge 0",
        None,
        "Any matrix is a rotation, a stretching along axes, and another rotation.",
        _ASTARAG,
    ),
    (
        "rank-jacobi",
        r"\zeta = \frac{\lVert h_j \rVert^2 - \lVert h_i \rVert^2}{2\, h_i \cdot h_j},\quad "
        r"t = \frac{\operatorname{sign}\zeta}{|\zeta| + \sqrt{1 + \zeta^2}},\quad "
        r"\begin{bmatrix} h_i \\ h_j \end{bmatrix} \leftarrow \frac{1}{\sqrt{1 + t^2}}"
        r"\begin{bmatrix} 1 & -t \\ t & 1 \end{bmatrix} \begin{bmatrix} h_i \\ h_j \end{bmatrix}",
        None,
        "Rotate two rows by the smaller angle that makes them orthogonal; repeat over all pairs until none is left.",
        f"{_GOLUB}, section 8.6.3; Demmel and Veselic 1992",
    ),
    (
        "rank-truncation",
        r"M_r = U_r \Sigma_r V_r^\top = \sum_{i=1}^{r} \sigma_i u_i v_i^\top",
        None,
        "Keep the r largest singular values and drop the rest.",
        _ASTARAG,
    ),
    (
        "rank-eckart-young",
        r"\min_{\operatorname{rank}(X) \le r} \lVert M - X \rVert_F = \lVert M - M_r \rVert_F"
        r" = \sqrt{\sigma_{r+1}^2 + \dots + \sigma_q^2}",
        None,
        "No matrix of rank r comes closer than the truncated one, and its error is the tail of the spectrum.",
        "Eckart and Young 1936",
    ),
    (
        "rank-energy",
        r"E(r) = \frac{\sigma_1^2 + \dots + \sigma_r^2}{\sigma_1^2 + \dots + \sigma_q^2}"
        r" = 1 - \frac{\lVert M - M_r \rVert_F^2}{\lVert M \rVert_F^2}",
        None,
        "The share of the squared size that the best approximation of rank r keeps.",
        "follows from Eckart and Young 1936",
    ),
    (
        "rank-effective",
        r"\operatorname{erank}(M) = \exp\Big(-\sum_i p_i \log p_i\Big),\quad p_i = \frac{\sigma_i}{\sum_j \sigma_j}",
        None,
        "Over how many directions a matrix spreads, measured by the entropy of its singular values.",
        "Roy and Vetterli, The effective rank, EUSIPCO 2007",
    ),
    (
        "rank-stable",
        r"\operatorname{srank}(M) = \frac{\lVert M \rVert_F^2}{\lVert M \rVert_2^2}"
        r" = \frac{\sum_i \sigma_i^2}{\sigma_1^2}",
        None,
        "The whole energy in units of the strongest direction's; never above the rank.",
        "Rudelson and Vershynin 2007",
    ),
    # ---- what factors cost and what they carry -------------------------------------------------------------
    (
        "rank-factored-size",
        r"r\,(m + n)\quad\text{for}\ m n:\qquad 10\,(100 + 1000) = 11\,000 = 11\,\%\ \text{of}\ 100\,000",
        None,
        "A matrix of 100 by 1000 and rank 10 is kept in 11 % of its numbers.",
        _INTRO,
    ),
    (
        "rank-break-even",
        r"r^* = \frac{m n}{m + n}",
        None,
        "At this rank two factors hold as many numbers as their product; below it they save.",
        "r (m + n) = m n solved for r",
    ),
    (
        "rank-increment",
        r"W' = W + \Delta W",
        None,
        "Full fine-tuning ends at the frozen weight plus an increment.",
        _TOGETHER,
    ),
    (
        "rank-increment-mn",
        r"W' = W + \Delta W = W + B A",
        r"W' = W + \Delta W = W + M N",
        "An increment of low rank is a product of two thin factors.",
        _TOGETHER,
    ),
    (
        "rank-layer-increment",
        r"Y = X\,(W + \Delta W)^\top + b",
        r"Y = X\,(W + \Delta W) + b",
        "The layer with its weight moved by the increment.",
        _TOGETHER,
    ),
    (
        "rank-layer-mn",
        r"Y = X\,(W + B A)^\top + b",
        r"Y = X\,(W + M N) + b",
        "The layer with the increment written as two factors.",
        _TOGETHER,
    ),
    (
        "rank-layer-split",
        r"Y = X W^\top + X A^\top B^\top + b",
        r"Y = X W + X M N + b",
        "Multiply out, and the frozen weight is never touched: the factors are applied beside it.",
        _TOGETHER,
    ),
    (
        "rank-too-low",
        r"r_{\text{LoRA}} < r_{\text{opt}}\ \Rightarrow\ \min_{B, A}\lVert \Delta W_{\text{opt}} - B A \rVert_F > 0",
        r"r_{\text{LoRA}} < r_{\text{opt}}\ \Rightarrow\ \min_{M, N}\lVert \Delta W_{\text{opt}} - M N \rVert_F > 0",
        "Factors of too low a rank cannot carry the best increment.",
        _CHOOSING,
    ),
    (
        "rank-too-high",
        r"r_{\text{LoRA}} > r_{\text{opt}}\ \Rightarrow\ (r_{\text{LoRA}} - r_{\text{opt}})(m + n)"
        r"\ \text{numbers too many}",
        None,
        "Factors of too high a rank lose nothing and hold numbers that nothing needs.",
        _CHOOSING,
    ),
    (
        "rank-tradeoff",
        r"r_{\text{LoRA}} \approx r_{\text{opt}}",
        None,
        "Aim for the rank that the best increment has.",
        _CHOOSING,
    ),
)
