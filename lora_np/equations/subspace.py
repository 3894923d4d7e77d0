"""Equations of the subspace measures: similarity, distance, amplification.  Floor 0."""

from lora_np.equations._entry import table

_LORA = "Hu et al., LoRA, arXiv 2106.09685"
_ASTARAG = "Astarag Mohapatra, LoRA paper in-depth explanation (seed 002)"

EQUATIONS = table(
    (
        "subspace-phi",
        r"\phi(A_1, A_2, i, j) = \frac{\|U_{1,i}^\top U_{2,j}\|_F^2}{\min(i, j)} \in [0, 1]",
        None,
        "How much of the top i directions of one matrix lies in the top j directions of another: 0 is nothing, 1 is "
        "all of the smaller. Right singular vectors of A, left ones of B.",
        f"{_LORA}, section 7.2 (right side) and appendix G (left side); {_ASTARAG}, question 3",
    ),
    (
        "subspace-distance",
        r"d = \sqrt{p - \textstyle\sum_{t=1}^{p} \sigma_t^2},\quad \phi = 1 - \frac{d^2}{p},\quad p = \min(i, j),\ "
        r"\sigma = \operatorname{svd}(U_{1,i}^\top U_{2,j})",
        None,
        "Similarity and distance on the Grassmann manifold are one quantity: phi is 1 - d^2/p. The paper's appendix "
        "prints (1/p)(1 - d^2), which its own d contradicts for p > 1.",
        f"{_LORA}, appendix G, corrected",
    ),
    (
        "subspace-amplification",
        r"\frac{\|\Delta W\|_F}{\|U^\top W V\|_F},\quad \Delta W = U \Sigma V^\top",
        None,
        "How much stronger the increment is than the weight in the increment's own directions. The last factor is "
        "written V^T in the paper and means the V^T of the decomposition.",
        f"{_LORA}, section 7.3, table 7: 6.91 / 0.32 = 21.6 at r = 4, printed as 21.5; {_ASTARAG}, question 3",
    ),
    (
        "subspace-random",
        r"\mathbb{E}\,\phi = \frac{\max(i, j)}{n},\quad "
        r"\mathbb{E}\,\|U^\top W V\|_F^2 = \frac{r^2}{d\,k}\,\|W\|_F^2\quad\text{for random } U, V",
        None,
        "What chance gives: the control without which neither a similarity nor an amplification says anything.",
        f"from uniform random subspaces; agrees with the random column of {_LORA}, table 7",
    ),
)
