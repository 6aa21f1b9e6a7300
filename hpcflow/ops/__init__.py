"""hpcflow's ops: a family of them in a file, or one in the file of its name."""

FAMILIES = {
    "derivatives": "diff gaussian_laplace gradient gradient_magnitude prewitt",
    "extremes": "argmax argmin first last max min ptp",
    "morphology": "black_tophat closing dilation erosion morphological_gradient opening white_tophat",
    "shape": "broadcast expand_dims flip repeat roll rot90 squeeze tile",
    "reductions": "all any count count_nonzero mean prod std sum var",
}
"""Which file holds the ops that have none of their own, so that a name is found without importing it."""
