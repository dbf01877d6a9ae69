"""Times what reads and writes tasks, beside msgspec.

    python3 internal/bench/python/codec.py          # from the root of the repository

It runs the benchmarks BenchmarkTaskDecode and BenchmarkTaskEncode, and lets msgspec read and write the same task of 229 bytes into the
same types, in turns, three times. Where there is no msgspec, it says so and does nothing.
"""

import datetime
import re
import subprocess
import sys
import timeit
import uuid

try:
    import msgspec
except ModuleNotFoundError as error:
    if error.name != "msgspec":
        raise
    print(f"skipped: {sys.executable} has no msgspec. To install it: python3 -m pip install msgspec")
    sys.exit(0)

ROUNDS = 3
TASK = (
    b'{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","func_name":"send_email","args":[42,"alice@example.com",3.5],'
    b'"kwargs":{"subject":"Your invoice of 23 November.","retries":3},"created_at":"2026-11-23T07:10:47.123456Z","ttl":"PT3600S"}'
)


class Kwargs(msgspec.Struct):
    subject: str
    retries: int


class Task(msgspec.Struct):
    id: uuid.UUID
    func_name: str
    args: tuple[int, str, float]
    kwargs: Kwargs
    created_at: datetime.datetime
    ttl: datetime.timedelta | None


def time_of(call, *args) -> float:
    """How long a call takes, in ns: the fastest of five runs of a fifth of a second each."""
    timer = timeit.Timer("call(*args)", globals={"call": call, "args": args})
    number, took = timer.autorange()
    return min(timer.repeat(repeat=5, number=number)) / number * 1e9


def time_of_go(benchmark: str) -> float:
    """What go test measures, in ns: the fastest of five runs."""
    command = ["go", "test", "-run", "^$", "-bench", f"^{benchmark}$", "-benchtime", "200ms", "-count", "5", "."]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return min(float(ns) for ns in re.findall(r"([\d.]+) ns/op", output))


def main() -> None:
    decode, encode = msgspec.json.Decoder(Task).decode, msgspec.json.Encoder().encode
    task = decode(TASK)
    if encode(task) != TASK:
        sys.exit(f"msgspec {msgspec.__version__} writes another task: {encode(task)!r}")
    encode_into, buffer = msgspec.json.Encoder().encode_into, bytearray(512)
    cases = {
        "decode": ("BenchmarkTaskDecode/omniq", decode, TASK),
        "encode into a buffer": ("BenchmarkTaskEncode/omniq-append", encode_into, task, buffer),
        "encode": ("BenchmarkTaskEncode/omniq-marshal", encode, task),
    }
    print(f"msgspec {msgspec.__version__}, Python {sys.version.split()[0]}, {subprocess.getoutput('go version')}")
    print("| | OmniQ, ns | msgspec, ns | ratio |\n|---|---:|---:|---:|")
    for _ in range(ROUNDS):
        for name, (benchmark, call, *args) in cases.items():
            ours, theirs = time_of_go(benchmark), time_of(call, *args)
            print(f"| {name} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |", flush=True)


main()
