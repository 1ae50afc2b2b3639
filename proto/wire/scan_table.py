#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The EHIS gateway authors
"""Turns protoc's descriptor set into the scanner's tables, and writes a set without the bounds for protoc-c (1.4.1 would want code for them).

scan_table.py DESCRIPTOR_SET OUT_H OUT_C OUT_STRIPPED_SET [PACKAGE]

PACKAGE is ehis.v1 unless given; a register's published package gets tables of its own in the same way.
"""
import os
import re
import sys

from google.protobuf import descriptor_pb2 as pb

BOUNDS = 50001
MAX_NUMBER = 63
F = pb.FieldDescriptorProto


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields_of(data):
    """(number, value) of varint and length-delimited fields: enough for Bounds and for finding it in FieldOptions."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        value, at = varint(data, at)
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        yield tag >> 3, value


def bounds_of(field):
    out = {1: 0, 2: 0, 3: 0, 4: 0, 5: 0}
    for number, value in fields_of(field.options.SerializeToString()):
        if number == BOUNDS:
            out.update(dict(fields_of(value)))
    return {"min": out[1], "max": out[2], "count": out[3], "identifier": out[4], "required": out[5]}


def snake(name):
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def symbol(full):
    return "scan_" + "_".join(snake(part) for part in full.lstrip(".").split("."))


TYPES = {F.TYPE_UINT32: "SCAN_U32", F.TYPE_UINT64: "SCAN_U64", F.TYPE_BOOL: "SCAN_BOOL", F.TYPE_ENUM: "SCAN_ENUM",
         F.TYPE_BYTES: "SCAN_BYTES", F.TYPE_STRING: "SCAN_STRING", F.TYPE_MESSAGE: "SCAN_MESSAGE"}


def row(full, field, enums):
    where = f"{full}.{field.name}"
    if field.type not in TYPES:
        sys.exit(f"{where}: a type that the scanner does not know")
    if field.number > MAX_NUMBER:
        sys.exit(f"{where}: field number above {MAX_NUMBER}")
    b = bounds_of(field)
    repeated = field.label == F.LABEL_REPEATED
    sized = field.type in (F.TYPE_BYTES, F.TYPE_STRING, F.TYPE_MESSAGE)
    if sized and not b["max"]:
        sys.exit(f"{where}: has no max_bytes")
    if repeated and (not b["count"] or not sized):
        sys.exit(f"{where}: has no max_count, or is a repeated number")
    if not repeated and sized and field.type != F.TYPE_MESSAGE and not b["min"]:
        b["min"] = 1  # an empty one is a default and is not written
    values = 0
    if field.type == F.TYPE_ENUM:
        for value in enums[field.type_name]:
            values |= 1 << value
    sub = f"&{symbol(field.type_name)}" if field.type == F.TYPE_MESSAGE else "NULL"
    return (f'    {{{field.number}, {TYPES[field.type]}, {int(repeated)}, {b["required"]}, {b["identifier"]}, '
            f'{int(field.HasField("oneof_index"))}, {b["min"]}u, {b["max"]}u, {b["count"]}u, 0x{values:x}ull, {sub}, "{field.name}"}},')


def check_acyclic(messages):
    depth = {}

    def visit(name, path):
        if name in path:
            sys.exit(f"{name}: a message that contains itself")
        if name not in depth:
            below = [visit(f.type_name, path + [name]) for f in messages[name].field if f.type == F.TYPE_MESSAGE]
            depth[name] = 1 + max(below, default=0)
        return depth[name]

    deepest = max(visit(name, []) for name in messages)
    if deepest > 8:
        sys.exit("messages nest deeper than 8")


def main(set_path, out_h, out_c, out_set, package="ehis.v1"):
    files = pb.FileDescriptorSet()
    with open(set_path, "rb") as f:
        files.ParseFromString(f.read())
    ours = [f for f in files.file if f.package == package and not f.extension]
    messages, enums = {}, {}
    for file in ours:
        for message in file.message_type:
            messages[f".{file.package}.{message.name}"] = message
        for enum in file.enum_type:
            enums[f".{file.package}.{enum.name}"] = [v.number for v in enum.value if v.number]
    check_acyclic(messages)
    head = f"/* Made by scan_table.py from {package}. */\n"
    with open(out_h, "w") as h, open(out_c, "w") as c:
        h.write(head + "#pragma once\n#include \"proto/wire/scan.h\"\n")
        c.write(head + f"#include \"{os.path.basename(out_h)}\"\n#include \"proto/wire/scan_priv.h\"\n")
        for full in messages:
            h.write(f"extern const struct scan_message {symbol(full)};\n")
        for full, message in messages.items():
            fields = sorted(message.field, key=lambda f: f.number)
            name = symbol(full)
            top = fields[-1].number if fields else 0
            required = sum(1 << f.number for f in fields if bounds_of(f)["required"])
            index = [0] * (top + 1)
            for i, field in enumerate(fields):
                index[field.number] = i + 1
            if fields:
                c.write(f"static const struct scan_field {name}_fields[] = {{\n")
                c.write("\n".join(row(full, f, enums) for f in fields) + "\n};\n")
            c.write(f"static const uint8_t {name}_index[] = {{{', '.join(map(str, index))}}};\n")
            c.write(f"const struct scan_message {name} = {{\"{message.name}\", {name + '_fields' if fields else 'NULL'}, "
                    f"{len(fields)}, {top}, {name}_index, 0x{required:x}ull}};\n")
    stripped = pb.FileDescriptorSet()
    for file in ours:
        copy = stripped.file.add()
        copy.CopyFrom(file)
        kept = [d for d in copy.dependency if not d.endswith("bounds.proto")]
        del copy.dependency[:]
        copy.dependency.extend(kept)
        copy.ClearField("source_code_info")
        for message in copy.message_type:
            for field in message.field:
                field.ClearField("options")
    with open(out_set, "wb") as f:
        f.write(stripped.SerializeToString())


if __name__ == "__main__":
    main(*sys.argv[1:])
