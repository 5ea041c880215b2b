"""An ONNX file of one convolution, written by hand: protobuf's fields one by one."""


def varint(number):
    """A number in protobuf's form: seven bits a byte, the lowest first."""
    parts = [number >> shift & 127 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(part | 128 for part in parts[:-1]), parts[-1]])


def field(number, value):
    """A field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx(weights, bias, *, place, constant=False):
    """An ONNX model of a convolution: 3 channels to 4. `place`: of the values in their tensor.

    `constant`: the bias comes from a node of its own.
    """

    def tensor(name, values, number=5):
        sizes = b"".join(field(1, size) for size in values.shape)
        numbers = field(place, values.astype("<f4").tobytes())
        return field(number, sizes + field(2, 1) + field(8, name) + numbers)

    def value(number, name, shape):
        sizes = field(2, b"".join(field(1, field(1, size)) for size in shape))
        return field(number, field(1, name) + field(2, field(1, field(1, 1) + sizes)))

    node = field(1, "x") + field(1, "w") + field(1, "b") + field(2, "y") + field(4, "Conv")
    graph = field(1, node) + field(2, "g") + tensor("w", weights)
    if constant:
        value_of = field(5, field(1, "value") + tensor("", bias, 5) + field(20, 4))
        graph = field(1, field(2, "b") + field(4, "Constant") + value_of) + graph
    else:
        graph += tensor("b", bias)
    graph += value(11, "x", (1, 3, 8, 8)) + value(12, "y", (1, 4, 6, 6))
    return field(1, 8) + field(8, field(1, "") + field(2, 13)) + field(7, graph)
