"""The operators that a model file may call, by name: arithmetic on tensors and on their sizes, and nothing else.

They are what exported networks of torchvision, timm and segmentation-models-pytorch call, torch's
core operators, and their kin. None of them knows of files, processes, raw memory, storages,
other people's classes or functions; a name that is not here is refused, whatever torch has under it.
"""

from __future__ import annotations

import re

_NAMES = (
    # elementwise
    "abs acos acosh add addcdiv addcmul alias angle asin asinh atan atan2 atanh bitwise_and bitwise_left_shift "
    "bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil celu clamp clamp_max clamp_min clip clone conj "
    "contiguous copysign cos cosh deg2rad detach div divide elu eq erf erfc erfinv exp exp2 expm1 fill "
    "float_power floor floor_divide fmax fmin fmod frac gcd ge gelu glu greater greater_equal gt hardshrink "
    "hardsigmoid hardswish hardtanh heaviside hypot i0 imag isfinite isinf isnan isneginf isposinf lcm ldexp le "
    "leaky_relu lerp less less_equal lgamma log log10 log1p log2 log_sigmoid log_sigmoid_forward logaddexp logaddexp2 "
    "logical_and logical_not logical_or logical_xor logit lt masked_fill maximum minimum mish mul multiply mvlgamma "
    "nan_to_num ne neg negative nextafter not_equal polar positive pow prelu _prelu_kernel rad2deg real reciprocal "
    "relu relu6 remainder round rrelu rsqrt rsub selu sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink "
    "special_entr special_erf special_erfc special_expit special_expm1 special_log1p special_logit sqrt square sub "
    "subtract tan tanh threshold true_divide trunc view_as_complex view_as_real where xlogy zero "
    # reductions, sorting, scans
    "all amax amin aminmax any argmax argmin argsort bincount count_nonzero cummax cummin cumprod cumsum diff "
    "dist histc kthvalue log_softmax _log_softmax logcumsumexp logsumexp max mean median min mode msort nanmean "
    "nanmedian nansum norm linalg_norm linalg_vector_norm prod quantile softmax _softmax sort std std_mean sum topk "
    "trace unique_consecutive var var_mean nonzero nonzero_numpy "
    # shapes and selections
    "adjoint as_strided atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to cat "
    "channel_shuffle chunk column_stack combinations concat concatenate constant_pad_nd diag diag_embed diagflat "
    "diagonal diagonal_scatter dsplit dstack expand expand_as expand_copy flatten flip fliplr flipud gather hsplit "
    "hstack im2col col2im index index_add index_copy index_fill index_put _unsafe_index index_select kron lift "
    "lift_fresh lift_fresh_copy mT masked_scatter masked_select matrix_H meshgrid moveaxis movedim narrow numpy_T pad "
    "permute permute_copy pixel_shuffle pixel_unshuffle ravel reflection_pad1d reflection_pad2d reflection_pad3d "
    "repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape reshape_as roll rot90 "
    "scatter scatter_add scatter_reduce searchsorted select select_scatter slice slice_scatter split "
    "split_with_sizes squeeze stack sum_to_size swapaxes swapdims t take take_along_dim tensor_split tile transpose "
    "tril triu unbind unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze view view_as "
    "_unsafe_view _reshape_alias vsplit vstack bucketize cartesian_prod "
    # new tensors with known content, kinds and places
    "arange copy eye full full_like linspace logspace new_full new_ones new_zeros one_hot ones ones_like scalar_tensor "
    "tril_indices triu_indices zeros zeros_like hann_window hamming_window bartlett_window blackman_window to _to_copy "
    "type_as _conj _neg_view resolve_conj resolve_neg complex bernoulli "
    # products and transforms
    "addbmm addmm addmv addr affine_grid_generator baddbmm bilinear bmm cdist _cdist_forward chain_matmul "
    "cosine_similarity cross cov corrcoef dot einsum fft_fft fft_fft2 fft_fftn fft_fftshift fft_hfft fft_ifft "
    "fft_ifft2 fft_ifftn fft_ifftshift fft_ihfft fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn "
    "fft_fftfreq fft_rfftfreq _fft_c2c _fft_c2r _fft_r2c inner linalg_cross linalg_det linalg_inv linalg_inv_ex "
    "linalg_matmul linalg_matrix_norm linalg_matrix_power linalg_multi_dot linalg_pinv linalg_qr linalg_solve "
    "linalg_svd linalg_svdvals linear matmul matrix_power mm mv outer pairwise_distance renorm tensordot vdot "
    # networks
    "adaptive_avg_pool1d adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool3d "
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d alpha_dropout avg_pool1d avg_pool2d avg_pool3d "
    "batch_norm conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution dropout embedding "
    "feature_dropout grid_sampler grid_sampler_2d grid_sampler_3d group_norm gru instance_norm "
    "layer_norm lstm max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices "
    "max_pool3d max_pool3d_with_indices native_dropout native_group_norm native_layer_norm native_batch_norm "
    "_native_batch_norm_legit _native_batch_norm_legit_no_training rms_norm _fused_rms_norm rnn_relu rnn_tanh "
    "scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_attention_math "
    "upsample_bicubic2d upsample_bilinear2d _upsample_bicubic2d_aa _upsample_bilinear2d_aa upsample_linear1d "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "_upsample_nearest_exact3d upsample_trilinear3d _weight_norm _weight_norm_interface "
    # sizes, and what is held to be true
    "_assert_async _assert_scalar _assert_tensor_metadata _local_scalar_dense item is_nonzero numel size "
    "sym_constrain_range sym_constrain_range_for_size sym_is_contiguous sym_numel sym_size sym_storage_offset "
    "sym_stride"
)
ATEN = frozenset(_NAMES.split())
FILLED = {
    "torch.ops.aten.empty.memory_format": "torch.ops.aten.zeros.default",
    "torch.ops.aten.new_empty.default": "torch.ops.aten.new_zeros.default",
    "torch.ops.aten.empty_like.default": "torch.ops.aten.zeros_like.default",
}
"""What is called in place of operators that would give whatever memory held before."""
HIGHER = ("cond", "wrap_with_autocast", "wrap_with_set_grad_enabled")
"""Operators that take a part of the program; that part is looked through like the rest."""
PLAIN = re.compile(
    r"torch\.sym_(float|int|ite|max|min|not|sqrt|sum)|math\.(ceil|floor|trunc)"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
)
"""Functions of numbers: sizes, mostly."""


def allowed(target: str) -> bool:
    """Whether a program may call the operator that torch knows by this name."""
    named = re.fullmatch(r"torch\.ops\.(\w+)\.(\w+)(\.\w+)?", target, re.ASCII)
    if named is None:
        return PLAIN.fullmatch(target) is not None
    namespace, name, _ = named.groups()
    if namespace == "aten":
        # In place, and into a tensor of the program's own, is the same arithmetic.
        return name in ATEN or (name.endswith("_") and name[:-1] in ATEN)
    return namespace == "higher_order" and name in HIGHER
