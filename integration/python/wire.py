"""What a program needs to talk to anywire agents, written from docs/wire.md."""

import urllib.parse

# Everything outside U+0021-7E, the quote and the percent sign are encoded.
PLAIN = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')


def percent(value):
    return urllib.parse.quote(value, safe=PLAIN)


def unpercent(value):
    return urllib.parse.unquote(value, errors="strict")


def murmur2(data):
    """The 32-bit variant of Kafka's Java client."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) - len(data) % 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def shard_of(key, shards):
    return (murmur2(key.encode()) & 0x7FFFFFFF) % shards


def underscored(attributes):
    """Header or field names on Kafka and Redis."""
    return {"content-type" if n == "datacontenttype" else "ce_" + n: v for n, v in attributes.items()}


def from_underscored(headers):
    found = {}
    for name, value in headers.items():
        if name == "content-type":
            found["datacontenttype"] = value
        elif name.startswith("ce_"):
            found[name[3:]] = value
    return found


def dashed(attributes):
    """Header names and values on NATS."""
    return {"ce-" + n: percent(v) for n, v in attributes.items()}


def from_dashed(headers):
    return {n.lower()[3:]: unpercent(v) for n, v in headers.items() if n.lower().startswith("ce-")}
