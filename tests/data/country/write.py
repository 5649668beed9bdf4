"""Writes test.mmdb: a database in MaxMind's format (https://maxmind.github.io/MaxMind-DB/) of a few networks that are
reserved for documentation, with countries that were made up.

    python write.py
"""

import ipaddress
import struct
from pathlib import Path

BUILT = 1_772_323_200  # 2026-03-01T00:00:00Z
COUNTRIES = {
    # All of a masked network is in one country.
    "203.0.113.0/24": "NZ",
    # A masked network of two countries, and of a part that nobody knows.
    "198.51.100.0/26": "DE",
    "198.51.100.64/26": "AT",
    "2001:db8::/32": "SE",
    "2001:db8:ffff:8000::/49": "FI",
}
V4_PREFIX = 96

TEXT, UINT16, UINT32, MAP, UINT64, ARRAY = 2, 5, 6, 7, 9, 11


def control(kind: int, size: int) -> bytes:
    """The bytes before a value; no value here is longer than 28."""
    if size > 28:
        raise ValueError(f"a value of {size} bytes")
    return bytes([kind << 5 | size]) if kind <= 7 else bytes([size, kind - 7])


def encoded(value: object) -> bytes:
    if isinstance(value, str):
        return control(TEXT, len(value.encode())) + value.encode()
    if isinstance(value, tuple):
        kind, number = value
        digits = number.to_bytes((number.bit_length() + 7) // 8, "big")
        return control(kind, len(digits)) + digits
    if isinstance(value, list):
        return control(ARRAY, len(value)) + b"".join(map(encoded, value))
    return control(MAP, len(value)) + b"".join(encoded(part) for pair in value.items() for part in pair)


def put(tree: list, network: str, place: int) -> None:
    """Leads the addresses of a network to a place in the data; longer networks come after the shorter around them."""
    network = ipaddress.ip_network(network)
    bits, length = f"{int(network.network_address):0{network.max_prefixlen}b}", network.prefixlen
    if network.version == 4:
        bits, length = "0" * V4_PREFIX + bits, V4_PREFIX + length
    node = 0
    for bit in map(int, bits[: length - 1]):
        if not isinstance(tree[node][bit], tuple):
            inherited = tree[node][bit]
            tree.append([inherited, inherited])
            tree[node][bit] = ("node", len(tree) - 1)
        node = tree[node][bit][1]
    tree[node][int(bits[length - 1])] = place


def main() -> None:
    data, places = b"", {}
    for country in COUNTRIES.values():
        places.setdefault(country, len(data))
        data += encoded({"country": {"iso_code": country}}) if places[country] == len(data) else b""
    tree: list = [[None, None]]
    for network, country in sorted(COUNTRIES.items(), key=lambda entry: ipaddress.ip_network(entry[0]).prefixlen):
        put(tree, network, places[country])

    def record(target: object) -> bytes:
        if target is None:
            number = len(tree)
        elif isinstance(target, tuple):
            number = target[1]
        else:
            number = len(tree) + 16 + target
        return struct.pack(">I", number)

    metadata = {
        "binary_format_major_version": (UINT16, 2),
        "binary_format_minor_version": (UINT16, 0),
        "build_epoch": (UINT64, BUILT),
        "database_type": "Touchline-Test-Country",
        "description": {"en": "made-up countries"},
        "ip_version": (UINT16, 6),
        "languages": ["en"],
        "node_count": (UINT32, len(tree)),
        "record_size": (UINT16, 32),
    }
    nodes = b"".join(record(target) for node in tree for target in node)
    text = nodes + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encoded(metadata)
    Path(__file__).with_name("test.mmdb").write_bytes(text)


if __name__ == "__main__":
    main()
