#!/usr/bin/env python3
"""read_log.py DIR/log/3 checks one log of a registry, knowing docs/log-format.md and nothing else. It prints of each
record offset, log time, length and SHA-256, of each event sequence and host, and exits 1 where the log is damaged."""
import hashlib, os, re, struct, sys, zlib

def check_frame(data, at):
    """(length, synced, first offset, log time, records) of the frame at a byte, or a text: what is wrong with it."""
    magic, length, crc, count, *numbers = struct.unpack("<4sIIIQQQ", data[at : at + 40].ljust(40, b"\0"))
    frame, start, records = data[at : at + length], 40, []
    if len(data) < at + 40: return "the file ends inside a frame"
    if magic != b"KLPF": return "no frame begins here"
    if not 40 <= length <= 40 + 8 + 900 * 1024: return f"a frame cannot have {length} bytes"
    if len(frame) < length: return "the file ends inside a frame"
    if zlib.crc32(frame[12:]) != crc: return "the checksum does not match"
    while start + 8 <= length:
        delta, size = struct.unpack_from("<II", frame, start)
        if delta != len(records): return "its records leave gaps"
        records.append(frame[start + 8 : start + 8 + size])
        start += 8 + size
    good = start == length and len(records) == count
    return (length, *numbers, records) if good else "the records do not fill the frame"

def was_durable(data, bad):
    """Whether a good frame behind the bad one states that the bad one was durable when it was written."""
    for found in re.finditer(b"KLPF", data):
        frame = check_frame(data, found.start())
        if type(frame) is tuple and bad < frame[1] <= found.start(): return True
    return False

def varint(data, at):
    end = next(index for index in range(at, len(data)) if data[index] < 128) + 1
    return sum((byte & 127) << 7 * index for index, byte in enumerate(data[at:end])), end

def fields(message, at=0):
    """(number, value) of each field of a protobuf message; numbers of a fixed length are passed over."""
    while at < len(message):
        key, at = varint(message, at)
        value, end = varint(message, at) if key & 7 in (0, 2) else (None, at + {1: 8, 5: 4}.get(key & 7, 0))
        at = end + value if key & 7 == 2 else end
        yield key >> 3, message[end:at] if key & 7 == 2 else value

next_offset, last_time, catalog = 0, 0, os.path.basename(os.path.abspath(sys.argv[1])) == "catalog"
names = sorted(name for name in os.listdir(sys.argv[1]) if re.fullmatch(r"[0-9]{20}\.log", name))
for path, at in ((os.path.join(sys.argv[1], name), 0) for name in names):
    with open(path, "rb") as file: data = file.read()
    if int(path[-24:-4]) != next_offset: sys.exit(f"{path} at byte 0 (offset {next_offset}): a file is missing before it")
    while at < len(data):
        frame, where = check_frame(data, at), f"{path} at byte {at} (offset {next_offset})"
        if type(frame) is str and path.endswith(names[-1]) and not was_durable(data, at):
            print(f"{where}: torn by a crash, {len(data) - at} bytes: {frame}", file=sys.stderr)
            break
        if type(frame) is str: sys.exit(f"{where}: {frame}")
        if frame[1] > at or frame[2] != next_offset or frame[3] < last_time: sys.exit(f"{where}: it does not follow")
        for record in frame[4]:
            print(next_offset, frame[3], len(record), hashlib.sha256(record).hexdigest())
            for event in [] if catalog else fields(record):
                print(f"  {dict(fields(event[1]))[3]} {dict(fields(event[1]))[1].decode()}")
            next_offset += 1
        at, last_time = at + frame[0], frame[3]
