"""Messages that a raw topic should never see, seeded: whatever comes, nothing may stop and no record may be lost."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Reading = dict[str, Any]
WRONG_VALUES = [
    None, True, False, "", "warm", "20.5", "1e3", "NaN", "null", -1, 0, 2**31, 2**63, 10**30, -(10**400), 1.5, 1e300,
    -1e-300, [], [1], [[1, 2]], {}, {"a": 1}, " 5 ", "٣", "0x10", "Infinity", "1970-01-01T00:00:00.000Z",
    "2099-12-31T23:59:59.999Z", "2026-02-30T10:00:00.000Z", "2026-11-24", "2026-11-24T10:00:00", "24.11.2026",
    "2026-11-24T24:00:00.000Z", "2026-11-24T10:00:60.000Z", "2026-11-24T10:00:00+19:00", "0000-01-01T00:00:00Z",
]  # fmt: skip
LITERALS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "01", "+1", ".5", "5.", "1E-7", "2E1", "0x1F", "1_000",
            "20." + "0" * 3000, "9" * 3000, "-0", "-0.0", "tru", "undefined", "'x'"]  # fmt: skip


NAMES = ["time", "entity", "temp", "humidity", "speed", "seq"]


def reading(rng: random.Random) -> Reading:
    """A valid one, of this moment or a little before."""
    time = datetime.now(UTC) - timedelta(seconds=rng.uniform(0, 5))
    return {
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "entity": rng.randint(6001, 6050),  # vehicles of its own: see LAST_VEHICLE in pipeline.py
        "temp": round(rng.gauss(20, 1), 2),
        "humidity": round(rng.gauss(35, 5), 2),
        "seq": rng.choice([rng.randint(1, 10**6), 2**63 - 1, 0, -5]),
        **rng.choice([{"vin": "1HGCM82633A004352"}, {}]),
    }


def encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def random_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([0, 1, 5, 50, 500]))


def truncated(rng: random.Random) -> bytes:
    whole = encoded(reading(rng))
    return whole[: rng.randrange(len(whole))]


def wrong_value(rng: random.Random) -> bytes:
    return encoded(reading(rng) | {rng.choice(NAMES): rng.choice(WRONG_VALUES)})


def wrong_literal(rng: random.Random) -> bytes:
    name, literal = rng.choice(NAMES[1:]), rng.choice(LITERALS)
    if name == "entity" and literal.startswith("2"):  # the generator has a vehicle 20, with seqs of its own
        literal = f"60{literal}"
    return encoded(reading(rng) | {name: "@"}).replace(b'"@"', literal.encode())


def missing_field(rng: random.Random) -> bytes:
    whole = reading(rng) | rng.choice([{}, {"odometer": 5.5}])
    for name in rng.sample(list(whole), rng.choice([1, 2, 3])):
        del whole[name]
    return encoded(whole)


def deep(rng: random.Random) -> bytes:
    depth = rng.choice([10, 999, 1001, 20_000, 200_000])
    nested = rng.choice([b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth])
    return rng.choice([nested, encoded(reading(rng) | {"x": "@"}).replace(b'"@"', nested)])


def long_text(rng: random.Random) -> bytes:
    text = rng.choice(["x", "é", '"', "\\", "\n"]) * (1024 * 1024 // rng.choice([1, 2, 16]))
    return rng.choice([text.encode(), encoded(text), encoded(reading(rng) | {"note": text})])[:4_000_000]


def other_encoding(rng: random.Random) -> bytes:
    text = encoded(reading(rng) | {"note": "é"}).decode()
    return rng.choice([
        text.encode("utf-16"), text.encode("utf-16-le"), text.encode("utf-32"), b"\xef\xbb\xbf" + text.encode(),
        json.dumps(reading(rng) | {"note": "é"}, ensure_ascii=False).encode("latin-1"), text.encode() + b"\xff",
        b"\x00" + text.encode(), text.encode().replace(b'"entity"', b'"entity\xff"'),
    ])  # fmt: skip


def trailing(rng: random.Random) -> bytes:
    """A reading and something behind it.

    Two readings in one message are left out: see docs/decisions/0015-druid-ingestion-filter.md.
    """
    one = encoded(reading(rng))
    behind = [b" x", b"]", b"}", b",", b"],[", b',"x":1', b"\n{", b"\x00"]
    return rng.choice([*(one + end for end in behind), b"[" + one + b"]", b"," + one, b"//x\n" + one])


def other_form(rng: random.Random) -> bytes:
    """Valid, but not as our generator would write it."""
    whole = reading(rng) | {"colour": {"red": "}{"}, "list": [1, {"entity": 5}], "text": 'a"}b'}
    fields = list(whole.items())
    rng.shuffle(fields)
    return rng.choice([
        json.dumps(dict(fields), indent=2).encode(), b" \t\r\n" + encoded(dict(fields)) + b"\n ",
        encoded(dict(fields)).replace(b'"entity"', b'"\\u0065ntity"'), encoded(whole),
        encoded({**whole, "time": whole["time"].replace("Z", "123Z")}),
        encoded({**whole, "time": whole["time"][:19] + "Z"}),
    ])  # fmt: skip


def repeated_field(rng: random.Random) -> bytes:
    name = rng.choice(NAMES[:-1])
    return encoded(reading(rng))[:-1] + f',"{name}":'.encode() + encoded(rng.choice(WRONG_VALUES)) + b"}"


KINDS: list[Callable[[random.Random], bytes | None]] = [
    random_bytes, truncated, wrong_value, wrong_literal, missing_field, deep, long_text, other_encoding, trailing,
    other_form, repeated_field, lambda rng: None, lambda rng: encoded(reading(rng)),
]  # fmt: skip
# The large ones less often: ten thousand of a megabyte would be ten gigabytes.
WEIGHTS = [0.2 if kind in (deep, long_text) else 3 for kind in KINDS]


def messages(count: int, seed: int) -> list[bytes | None]:
    rng = random.Random(seed)
    return [kind(rng) for kind in rng.choices(KINDS, WEIGHTS, k=count)]
