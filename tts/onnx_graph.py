"""ONNX graphs: how they are opened here, and how an inner tensor becomes an output."""

from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]

# Protocol-buffer tags (field << 3 | 2, "a message follows") of ModelProto.graph,
# GraphProto.output and ValueInfoProto.name in onnx.proto.
_GRAPH, _OUTPUT, _NAME = 0x3A, 0x62, 0x0A


def open_graph(
    path: Path, *, threads: int, outputs: tuple[str, ...] = ()
) -> onnxruntime.InferenceSession:
    """A session of the graph in ``path`` on the CPU. ``outputs`` are inner tensors that it gives
    besides its own outputs.

    Raises:
        ValueError: the file is no such graph, or has no tensor of such a name.
        OSError: it cannot be read.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = path.read_bytes() + b"".join(_output(name) for name in outputs)
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions have no common base but this
        raise ValueError(f"{path} is not a voice as expected: {error}") from error


def _output(name: str) -> bytes:
    """A message that, put after a model, adds the tensor ``name`` to the outputs of its graph.

    Messages in a row are one, with the elements of their lists joined; its encoding says so
    (protobuf.dev, "Encoding", last one wins).
    """
    return _field(_GRAPH, _field(_OUTPUT, _field(_NAME, name.encode())))


def _field(tag: int, content: bytes) -> bytes:
    assert len(content) < 128  # else the length takes two bytes
    return bytes([tag, len(content)]) + content
