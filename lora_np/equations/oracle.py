"""Equations of the oracle: how an error is counted, and how large rounding alone can make it.  Floor 0."""

from lora_np.equations._entry import table

EQUATIONS = table(
    (
        "oracle-error",
        r"\text{error} = \max_i \frac{|\text{got}_i - \text{want}_i|}{u\,S_i},"
        r"\qquad S = f\big(|X|, |W_0|, |B|, |A|\big)",
        None,
        "Errors are counted in roundings u of what was added up, S; up to 16 of them pass, 64 where DoRA divides.",
        "after Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.5",
    ),
    (
        "oracle-gamma",
        r"\gamma(K) = \frac{K u}{1 - K u},\qquad |\text{got} - \text{want}| \le \gamma(K)\,S",
        None,
        "K roundings, in any order, err by no more than this: beyond it, the formula is wrong and not the rounding.",
        "Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., lemma 3.1",
    ),
)
