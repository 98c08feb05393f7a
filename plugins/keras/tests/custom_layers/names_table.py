"""Expressions for every name of TensorFlow and ``K`` that ``convcore_keras.code`` knows, with axes and element types that tell meanings apart.

x, y: (2, 3, 5) float32; p: positive; m: (2, 3); q: (2, 5, 4); i: int32 (2, 3, 5); b, c: bool; w: image (2, 4, 6, 4).
"""

UNARY = (
    "abs acos acosh asin asinh atan atanh ceil cos cosh exp floor negative round sigmoid sign sin sinh sqrt square tan tanh identity "
    "ones_like zeros_like"
).split()
MATH = "erf expm1 is_finite is_inf is_nan log log1p log_sigmoid reciprocal rsqrt".split()
BINARY = "add subtract multiply divide truediv pow maximum minimum equal not_equal greater greater_equal less less_equal".split()
MATH_BINARY = "floordiv floormod mod atan2 divide_no_nan squared_difference".split()
REDUCTIONS = "sum mean max min prod std variance logsumexp".split()
K_UNARY = "abs sin cos exp log square sqrt sign round tanh sigmoid zeros_like ones_like identity elu softplus softsign hard_sigmoid relu".split()
K_BINARY = "equal not_equal greater greater_equal less less_equal maximum minimum".split()
K_REDUCTIONS = "sum mean max min prod std var logsumexp".split()
AXES = ["", ", axis=-1", ", axis=0", ", axis=[0, 2]", ", axis=1, keepdims=True", ", 1", ", [1], True"]

EXPRESSIONS = [
    *(f"tf.{n}({'p' if n in ('acosh', 'sqrt') else 'u' if n in ('acos', 'asin', 'atanh') else 'x'})" for n in UNARY),
    *(f"tf.math.{n}({'p' if n in ('log', 'log1p', 'rsqrt') else 'x'})" for n in MATH),
    *(f"tf.{n}(i)" for n in ("abs", "negative", "square", "sign", "identity", "ones_like", "zeros_like", "round")),
    *(f"tf.{n}({'p' if n == 'pow' else 'x'}, y)" for n in BINARY),
    *(f"tf.math.{n}({'p' if n == 'pow' else 'x'}, y)" for n in MATH_BINARY),
    *(f"tf.{n}(x, 2.0)" for n in ("add", "subtract", "multiply", "maximum", "minimum", "greater", "less_equal")),
    *(f"tf.{n}(i, 2)" for n in ("add", "subtract", "multiply", "maximum", "minimum", "greater", "equal", "less")),
    *(f"tf.math.{n}(i, 3)" for n in ("floordiv", "floormod", "squared_difference")),
    *(f"tf.math.{n}(-i, 3)" for n in ("floordiv", "floormod")),
    *(f"tf.math.reduce_{n}(x{a})" for n in REDUCTIONS for a in AXES),
    *(f"tf.reduce_{n}(i{a})" for n in ("sum", "max", "min", "prod") for a in AXES[:4]),
    *(f"tf.reduce_{n}(b{a})" for n in ("any", "all") for a in AXES),
    *(f"tf.{n}(b, c)" for n in ("logical_and", "logical_or")), "tf.math.logical_xor(b, c)", "tf.logical_not(b)",
    *(f"tf.nn.{n}(x)" for n in "relu relu6 elu selu softplus softsign leaky_relu silu swish gelu softmax log_softmax tanh sigmoid".split()),
    "tf.nn.leaky_relu(x, alpha=0.3)", "tf.nn.leaky_relu(x, 0.1)", "tf.nn.gelu(x, approximate=True)", "tf.nn.softmax(x, axis=1)",
    "tf.nn.softmax(x, 0)", "tf.nn.log_softmax(x, axis=1)", "tf.nn.swish(x, beta=1.0)",
    "tf.cast(x, tf.int32)", "tf.cast(i, 'float32')", "tf.cast(b, tf.float32)", "tf.cast(x, tf.bool)", "tf.saturate_cast(x, tf.int32)",
    "tf.convert_to_tensor(x)", "tf.stop_gradient(x)", "tf.reshape(x, [-1, 5])", "tf.reshape(x, (2, 5, 3))", "tf.reshape(x, [2, -1])",
    "tf.transpose(x)", "tf.transpose(x, [0, 2, 1])", "tf.transpose(x, perm=(1, 0, 2))", "tf.expand_dims(x, 1)", "tf.expand_dims(x, axis=-1)",
    "tf.squeeze(x[:, :1])", "tf.squeeze(x[:, :1], axis=1)", "tf.squeeze(x[:, :1], [1])", "tf.concat([x, y], axis=1)", "tf.concat([x, y], -1)",
    "tf.concat([x, y], 0)", "tf.stack([x, y])", "tf.stack([x, y], axis=-1)", "tf.unstack(x, axis=1)", "tf.unstack(x)", "tf.tile(x, [1, 2, 3])",
    "tf.repeat(x, 2, axis=1)", "tf.repeat(x, 2)", "tf.repeat(x, [1, 2, 3], axis=1)", "tf.roll(x, 1, axis=1)", "tf.roll(x, -2, axis=2)",
    "tf.roll(x, [1, 2], axis=[0, 1])", "tf.reverse(x, [1])", "tf.reverse(x, axis=[0, -1])", "tf.broadcast_to(x[:, :1], [2, 4, 5])",
    "tf.clip_by_value(x, -0.5, 0.5)", "tf.clip_by_value(x, clip_value_min=0.0, clip_value_max=1.0)", "tf.clip_by_value(i, 1, 3)",
    "tf.cumsum(x)", "tf.cumsum(x, axis=1)", "tf.cumsum(x, 2)", "tf.cumsum(i, axis=1)", "tf.math.cumprod(x, axis=1)",
    "tf.argmax(x)", "tf.argmax(x, axis=-1)", "tf.argmax(x, 1)", "tf.argmin(x, axis=-1)", "tf.argmin(x)", "tf.argmax(x, axis=1, output_type=tf.int32)",
    "tf.nn.depth_to_space(w, 2)", "tf.nn.space_to_depth(w, 2)", "tf.math.squared_difference(x, y)",
    *(f"K.{n}({'p' if n in ('log', 'sqrt') else 'x'})" for n in K_UNARY), "K.sqrt(x)",
    *(f"K.{n}(x, y)" for n in K_BINARY), *(f"K.{n}(x, 0.25)" for n in K_BINARY),
    *(f"K.{n}(x{a})" for n in K_REDUCTIONS for a in AXES),
    "K.cast(i, 'float32')", "K.reshape(x, (-1, 5))", "K.permute_dimensions(x, (0, 2, 1))", "K.transpose(m)", "K.transpose(x)", "K.expand_dims(x)",
    "K.expand_dims(x, 1)", "K.expand_dims(x, axis=0)", "K.squeeze(x[:, :1], 1)", "K.concatenate([x, y])", "K.concatenate([x, y], axis=1)",
    "K.stack([x, y])", "K.stack([x, y], axis=1)", "K.tile(x, (1, 2, 1))", "K.repeat_elements(x, 2, axis=1)", "K.repeat(m, 4)",
    "K.reverse(x, 1)", "K.reverse(x, [0, 2])", "K.clip(x, -0.5, 0.5)", "K.clip(x, 0.1, 0.2)", "K.argmax(x)", "K.argmax(x, axis=1)", "K.argmin(x)",
    "K.cumsum(x)", "K.cumsum(x, axis=1)", "K.cumprod(x, axis=2)", "K.elu(x, 0.3)", "K.softmax(x)", "K.softmax(x, axis=1)", "K.softmax(x, 1)",
    "K.pow(p, 2)", "K.pow(x, 2)", "K.pow(p, 0.5)", "K.flatten(x)", "K.batch_flatten(x)", "K.gather(x, i[0, 0] * 0 + 1)", "K.stop_gradient(x)",
    "K.relu(x, alpha=0.1)", "K.relu(x, max_value=0.5)", "K.relu(x, threshold=0.3)", "K.relu(x, alpha=0.2, max_value=0.5, threshold=0.1)",
    "K.l2_normalize(x)", "K.l2_normalize(x, axis=1)", "K.l2_normalize(x, axis=-1)", "tf.nn.l2_normalize(x, axis=[1, 2])", "tf.math.l2_normalize(x, 0)",
    "tf.nn.l2_normalize(x, -1, 0.5)", "tf.norm(x)", "tf.norm(x, axis=-1)", "tf.norm(x, axis=1, keepdims=True)", "tf.norm(x, ord=2, axis=2)",
    "K.dot(m, tf.transpose(m))", "K.dot(x, q[0])", "K.dot(x, q)", "K.batch_dot(x, q)", "K.batch_dot(x, q, axes=(2, 1))", "K.batch_dot(x, y, axes=2)",
    "K.batch_dot(x, y, axes=[1, 1])", "K.batch_dot(m, m, axes=1)", "K.batch_dot(x, m, axes=(1, 1))", "K.batch_dot(m, x, axes=(1, 1))",
    "K.batch_dot(x, m, axes=1)", "tf.matmul(x, q)", "tf.matmul(x, y, transpose_b=True)", "tf.matmul(x, y, transpose_a=True)", "x @ q",
    "tf.einsum('abc,abd->acd', x, x)", "tf.einsum('abc,acd->abd', x, q)", "tf.tensordot(x, q, axes=[[2], [1]])", "tf.tensordot(x, q[0], axes=1)",
    "tf.linalg.matvec(x, x[:, 0])", "tf.nn.bias_add(x, x[0, 0])", "K.bias_add(x, x[0, 0])",
    "tf.where(b, x, y)", "tf.where(x > 0, x, 0.0)", "tf.where(x[:, :, :1] > 0, x, y)", "tf.gather(x, [1, 0])", "tf.gather(x, [2, 0], axis=1)",
    "tf.gather(x, i[0, :, 0], axis=2)", "tf.split(x, [1, 4], axis=2)", "tf.split(x, 3, axis=1)", "tf.split(x, num_or_size_splits=2)",
    "tf.slice(x, [0, 1, 2], [2, 1, -1])", "tf.slice(x, [0, 0, 1], [-1, -1, 2])", "K.slice(x, [0, 1, 0], [2, 2, 3])",
    "tf.one_hot(i, 5)", "tf.one_hot(i, depth=4, axis=1)", "tf.one_hot(i, 5, dtype=tf.int32)", "K.one_hot(i, 5)", "K.one_hot(i, num_classes=3)",
    "tf.pad(x, [[0, 0], [1, 2], [0, 1]])", "tf.pad(x, [[0, 0], [1, 1], [2, 1]], mode='REFLECT')", "tf.pad(x, [[0, 0], [1, 1], [0, 2]], 'SYMMETRIC')",
    "tf.pad(x, [[0, 0], [1, 0], [0, 0]], constant_values=0.5)", "K.temporal_padding(x, (2, 1))", "K.spatial_2d_padding(w, ((1, 2), (0, 1)))",
    "tf.range(5)", "tf.range(1, 7, 2)", "tf.range(0.0, 1.0, 0.25)", "K.arange(3)", "K.arange(1, 5)", "K.arange(0, 7, 3, dtype='float32')",
    "tf.zeros((2, 3))", "tf.ones([3])", "tf.fill([2, 3], 0.5)", "tf.zeros((2,), tf.int32)", "tf.eye(3)", "tf.eye(2, 3)", "tf.linspace(0.0, 1.0, 5)",
    "tf.meshgrid(tf.range(3), tf.range(2))", "tf.meshgrid(tf.range(3), tf.range(2), indexing='ij')", "tf.linalg.band_part(x, -1, 0)",
    "tf.linalg.band_part(x, 0, -1)", "tf.linalg.band_part(x, 1, 1)", "tf.sequence_mask(i[0, 0], 4)", "tf.sequence_mask(i[0, 0], maxlen=5, dtype=tf.float32)",
    "tf.nn.moments(x, [1])", "tf.nn.moments(x, axes=[0, 2], keepdims=True)", "tf.math.top_k(x, 2)", "tf.math.top_k(x, k=3)",
    "tf.nn.batch_normalization(x, x[0, 0], p[0, 0], y[0, 0], y[1, 1], 1e-3)", "tf.nn.batch_normalization(x, x[0, 0], p[0, 0], None, None, 0.1)",
    "tf.nn.conv2d(w, w[:, :3, :4], strides=1, padding='SAME')[..., :2]", "tf.nn.conv2d(w, w[:2, :3, :4], 2, 'VALID')",
    "tf.nn.conv2d(w, w[:2, :3, :4], [1, 2, 1, 1], 'SAME')", "tf.nn.conv2d(w, w[:2, :2, :4], 1, 'SAME', dilations=2)", "K.conv2d(w, w[:2, :3, :4])",
    "K.conv2d(w, w[:2, :3, :4], padding='same', strides=(2, 1))", "tf.nn.depthwise_conv2d(w, w[:2, :3, :4], [1, 1, 1, 1], 'SAME')",
    "tf.nn.conv1d(x, tf.stack([q[0], q[1]]), stride=1, padding='SAME')", "tf.nn.max_pool2d(w, 2, 2, 'VALID')", "tf.nn.max_pool2d(w, 3, 2, 'SAME')",
    "tf.nn.avg_pool2d(w, 3, 2, 'SAME')", "tf.nn.avg_pool2d(w, [2, 3], [1, 2], 'VALID')", "tf.nn.max_pool(w, [1, 2, 2, 1], [1, 2, 2, 1], 'VALID')",
    "K.pool2d(w, (2, 2))", "K.pool2d(w, (2, 2), strides=(2, 2), pool_mode='avg')", "K.pool2d(w, (3, 3), padding='same', pool_mode='avg')",
    "tf.image.extract_patches(w, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], 'VALID')", "tf.image.extract_patches(w, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], 'SAME')",
    "tf.image.resize(w, (3, 5))", "tf.image.resize(w, [8, 9], method='nearest')", "tf.image.resize(w, (5, 7), 'bilinear')",
    "K.resize_images(w, 2, 3, 'channels_last')", "tf.nn.embedding_lookup(m, [1, 0, 1])", "x[:, -1]", "x[..., ::2]", "x[:, tf.newaxis, 1:3]", "x[0, 1:, ::-1]",
    "x + y * 2 - x / p", "x ** 2", "p ** 0.5", "-x % 2.0", "x // 0.5", "i // 2", "i % 3", "-i // 2", "-i % 3", "1.0 - x", "2 / p", "2.0 ** x",
    "(x > 0) & (y > 0)", "(x > 0) | b", "~b", "x == y", "x != x", "i >= 2", "abs(x)", "tf.abs(-x)", "sum([x, y])", "tf.constant([1.0, 2.0, 3.0, 4.0, 5.0]) * x",
    "tf.constant(2.0) * x", "tf.shape(x)[1] * tf.ones((1,), tf.int32)", "K.int_shape(x)[1] * x", "K.epsilon() * x", "K.ones_like(x) * K.cast(K.shape(x)[2], 'float32')",
    "K.mean(x, axis=-1) + tf.reduce_mean(x, -1)", "tf.keras.activations.relu(x)", "tf.keras.activations.gelu(x)", "tf.keras.activations.selu(x)",
    "tf.keras.activations.hard_sigmoid(x)", "tf.keras.activations.softmax(x)", "tf.keras.activations.swish(x)", "tf.keras.activations.elu(x)",
    "tf.keras.activations.exponential(x)", "tf.keras.activations.softsign(x)", "tf.keras.activations.mish(x)", "tf.keras.activations.linear(x)",
    "tf.size(x) * tf.ones((1,), tf.int32)", "tf.rank(x) * tf.ones((1,), tf.int32)", "K.ndim(x) * x", "K.eye(3)", "K.zeros_like(i)", "K.cast_to_floatx(i[0]) if False else x",
    "tf.nn.avg_pool(w, 2, 2, 'VALID')", "tf.nn.avg_pool1d(x, 2, 1, 'SAME')", "tf.nn.max_pool1d(x, 2, 1, 'VALID')",
    "tf.nn.convolution(w, w[:2, :3, :4], padding='VALID')", "tf.nn.convolution(w, w[:2, :3, :4], 2, 'SAME')",
]  # fmt: skip
