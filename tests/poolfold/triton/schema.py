"""The part of Triton's schema of configurations that ours use, as protobuf's own classes.

Triton's client has all of it, and wants older libraries than PyTorch's exporter: test_server.py parses with that one,
in an environment of its own.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = {"string": 9, "int32": 5, "int64": 3, "uint64": 4}
_MESSAGE, _ENUM = 11, 14
_SCHEMA = {
    "Tensor": {"name": "string", "data_type": "DataType", "dims": ["int64"]},
    "Group": {"kind": "Kind", "count": "int32"},
    "Batching": {"max_queue_delay_microseconds": "uint64"},
    "Parameter": {"string_value": "string"},
    "Step": {
        "model_name": "string", "model_version": "int64", "input_map": {"string"}, "output_map": {"string"},
    },
    "Scheduling": {"step": ["Step"]},
    "ModelConfig": {
        "name": "string", "platform": "string", "backend": "string", "default_model_filename": "string",
        "max_batch_size": "int32", "input": ["Tensor"], "output": ["Tensor"], "instance_group": ["Group"],
        "dynamic_batching": "Batching", "ensemble_scheduling": "Scheduling", "parameters": {"Parameter"},
    },
}  # fmt: skip
_ENUMS = {
    "DataType": ("TYPE_INVALID", "TYPE_INT64", "TYPE_FP32", "TYPE_STRING"),
    "Kind": ("KIND_AUTO", "KIND_GPU", "KIND_CPU"),
}


def _add(message: descriptor_pb2.DescriptorProto, name: str, kind: object) -> None:
    """Add a field: a type's name; in a list it repeats, and in a set it is the value of a map of strings."""
    many = isinstance(kind, list | set)
    (of,) = kind if isinstance(kind, list | set) else (kind,)
    if isinstance(kind, set):
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add(entry, "key", "string")
        _add(entry, "value", of)
        of = f"{message.name}.{entry.name}"
    field = message.field.add(name=name, number=len(message.field) + 1, label=3 if many else 1)
    if of in _TYPES:
        field.type = _TYPES[of]
    else:
        field.type, field.type_name = (_ENUM if of in _ENUMS else _MESSAGE), f".triton.{of}"


def _made() -> type:
    file = descriptor_pb2.FileDescriptorProto(name="triton.proto", package="triton", syntax="proto3")
    for name, values in _ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, kind in fields.items():
            _add(message, field, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("triton.ModelConfig"))


ModelConfig = _made()
