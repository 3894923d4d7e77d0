"""Equations: FLOPs, bytes, memory and time of one layer.  Floor 0."""

from lora_np.equations._entry import table

_COUNTED = "counted, a multiply-add as 2; seed 001 compares the two forms in words"

EQUATIONS = table(
    (
        "cost-product",
        r"(m, n) \cdot (n, p):\quad 2 m n p\ \text{FLOPs},\quad m n + n p + m p\ \text{numbers moved}",
        None,
        "A product does two FLOPs per multiply-add and at best reads each operand and writes the result once.",
        "definition",
    ),
    (
        "cost-forward",
        r"F_1 = 2 N d k + 2 d k\,(r + 1),\qquad F_2 = 2 N d k + 2 N r\,(d + k) + 2 N d",
        None,
        "Forward through the weight pays once per step, forward through the bottleneck pays per row.",
        _COUNTED,
    ),
    (
        "cost-backward",
        r"F_1 = 4 N d k + 4 d k r + r\,(d + k),\qquad F_2 = 2 N d k + 4 N r\,(d + k) + N (r + k) + d r",
        None,
        "Backward through the weight forms its full gradient: as much work again as the gradient of the input.",
        _COUNTED,
    ),
    (
        "cost-peak",
        r"M_1 = 2\,d k + N k + r\,(d + k),\qquad M_2 = 2 N r + \max\big(2 N k,\ N k + r\,(d + k)\big)",
        None,
        "In numbers, kept by forward and made by backward: lora-1 holds two (d, k) arrays, lora-2 none.",
        "counted, temporaries reused; seed 001 in words",
    ),
    (
        "cost-crossover",
        r"2 d k r = 2 N r\,(d + k) \iff N^\star = \frac{d k}{d + k}",
        None,
        "With more rows than this, forward through the weight takes fewer products, at any rank.",
        "F_1 = F_2 in cost-forward, products only",
    ),
    (
        "cost-rank",
        r"4 r\,(d + k) \le 2 d k \iff r \le \frac{d k}{2\,(d + k)}",
        None,
        "Up to this rank, a quarter of the width of a square weight, backward through the bottleneck always wins.",
        "F_2 <= F_1 in cost-backward for every N, products only",
    ),
    (
        "cost-roofline",
        r"t = \sum_{\text{operations}} \max\Big(\frac{\text{FLOPs}}{R},\ \frac{\text{bytes}}{\beta}\Big)",
        None,
        "An operation takes at least its arithmetic at the machine's rate and its traffic at the machine's bandwidth.",
        "Williams, Waterman and Patterson 2009, the roofline model",
    ),
)
