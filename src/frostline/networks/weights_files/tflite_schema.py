"""The numbers of TensorFlow Lite's schema, version 3: types, operations and their settings."""

DTYPES = (
    *("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64"),
    *("int8", "float64", "complex128", "uint64", "resource", "variant", "uint32", "uint16"),
    *("int4", "bfloat16", "int2", "uint4"),
)
ACTIVATIONS = ("none", "relu", "relu_n1_to_1", "relu6", "tanh", "sign_bit")
PADDINGS = ("same", "valid")
CUSTOM = 32

# By number, from 0; those of StableHLO, above, are told by their numbers.
_OPERATIONS = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
    EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
    LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1
    RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM
    CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
    SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM
    CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT
    SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT
    SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND
    LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE
    RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL
    REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE
    MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5
    SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM
    CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND
    HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
    ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL
    GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX
    UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
"""
OPERATIONS = tuple(_OPERATIONS.split())

_ACTIVATION = ("activation", "activation", 0)
_PADDING = ("padding", "padding", 0)
_ARITHMETIC = (_ACTIVATION,)
_RESIZE = (("align_corners", "bool", 0), ("half_pixel_centers", "bool", 0))

# Settings by the number of their table in the union: name, type and default by slot. A type that
# ends in [] is a vector; a name left empty is a slot that is no longer used.
OPTIONS: dict[int, tuple[tuple[str, str, float], ...]] = {
    1: (
        _PADDING,
        ("stride_w", "int32", 0),
        ("stride_h", "int32", 0),
        _ACTIVATION,
        ("dilation_w", "int32", 1),
        ("dilation_h", "int32", 1),
    ),
    2: (
        _PADDING,
        ("stride_w", "int32", 0),
        ("stride_h", "int32", 0),
        ("depth_multiplier", "int32", 0),
        _ACTIVATION,
        ("dilation_w", "int32", 1),
        ("dilation_h", "int32", 1),
    ),
    5: (
        _PADDING,
        ("stride_w", "int32", 0),
        ("stride_h", "int32", 0),
        ("filter_w", "int32", 0),
        ("filter_h", "int32", 0),
        _ACTIVATION,
    ),
    8: (_ACTIVATION, ("weights_format", "int8", 0), ("keep_num_dims", "bool", 0)),
    9: (("beta", "float32", 0),),
    10: (("axis", "int32", 0), _ACTIVATION),
    11: _ARITHMETIC,
    12: _ARITHMETIC,
    13: (
        ("radius", "int32", 0),
        ("bias", "float32", 0),
        ("alpha", "float32", 0),
        ("beta", "float32", 0),
    ),
    15: (("", "int32", 0), ("", "int32", 0), *_RESIZE),
    16: (("subgraph", "uint32", 0),),
    17: (("new_shape", "int32[]", 0),),
    19: (("block_size", "int32", 0),),
    21: _ARITHMETIC,
    23: (("axis", "int32", 0), ("batch_dims", "int32", 0)),
    27: (("keep_dims", "bool", 0),),
    28: _ARITHMETIC,
    29: _ARITHMETIC,
    30: (("squeeze_dims", "int32[]", 0),),
    32: (
        ("begin_mask", "int32", 0),
        ("end_mask", "int32", 0),
        ("ellipsis_mask", "int32", 0),
        ("new_axis_mask", "int32", 0),
        ("shrink_axis_mask", "int32", 0),
        ("offset", "bool", 0),
    ),
    35: (("num_splits", "int32", 0),),
    37: (("in_type", "dtype", 0), ("out_type", "dtype", 0)),
    40: (("output_type", "dtype", 0),),
    49: (_PADDING, ("stride_w", "int32", 0), ("stride_h", "int32", 0), _ACTIVATION),
    55: (("out_type", "dtype", 0),),
    57: (("output_type", "dtype", 0),),
    59: (("values_count", "int32", 0), ("axis", "int32", 0)),
    61: (("axis", "int32", 0),),
    64: (("num", "int32", 0), ("axis", "int32", 0)),
    74: _RESIZE,
    75: (("alpha", "float32", 0),),
    77: (("mode", "int8", 0),),
    79: (("num_splits", "int32", 0),),
    92: (("then_subgraph", "int32", 0), ("else_subgraph", "int32", 0)),
    93: (("cond_subgraph", "int32", 0), ("body_subgraph", "int32", 0)),
    94: (("block_size", "int32", 0),),
    101: (("adj_x", "bool", 0), ("adj_y", "bool", 0)),
    102: (("exclusive", "bool", 0), ("reverse", "bool", 0)),
    116: (("approximate", "bool", 0),),
}
