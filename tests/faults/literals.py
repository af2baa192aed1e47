"""Literals for a value's place in a body, by what is wrong with them."""

from __future__ import annotations

import json

from tests.faults.case import CANARY, STRANGER

NOT_JSON = (
    b"NaN", b"Infinity", b"-Infinity", b"nan", b"0x10", b"01", b"+1", b".5", b"5.", b"1_000", b"1,5", b"--1", b"1e",
    b"undefined",
    b"None", b"True", b"'x'", b'"\\x41"', b'"\\u12"', b'"\x00"', b'"\x01' + CANARY.encode() + b'"', b'"line\nbreak"',
    b'"\xff' + CANARY.encode() + b'"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xf0\x9f\x98"',
    b'"\\ud800"', b'"\\udc00' + CANARY.encode() + b'"', b'"\\udc00\\ud800"', b'"open', b"[1", b'{"a"', b"/*c*/1",
    b"1//c",
    b"[" * 1_000, b"[" * 100_000, b'{"a":' * 1_000, b"[" * 1_000 + b"]" * 999,
)  # fmt: skip
"""Literals that are not JSON (RFC 8259) in UTF-8, or not Unicode text: refused wherever they stand."""

NEVER = (
    b"1e999", b"-1e999", b"9" * 400, b"-" + b"9" * 5_000, b"9" * 100_000, b"[]", b"[1]", b"{}", b"[[[]]]", b"[null]",
    b"[" * 900 + b"]" * 900, b'{"a":' * 400 + b"1" + b"}" * 400, b'{"%s": "%s"}' % (STRANGER.encode(), CANARY.encode()),
    b'["%s"]' % CANARY.encode(), json.dumps("x" * 10_001).encode(), json.dumps(CANARY * 20_000).encode(),
)  # fmt: skip
"""JSON that no column of any kind takes."""

NOT_NUMBERS = (
    b"true", b"false", b'"%s"' % CANARY.encode(), b'"1"', b'"NaN"', b'"inf"', b'"1e5"', b'"0x1F"', b'" 1"',
    "\"１２\"".encode(),
    b'"\\u0000"', b'"12,5"',
)  # fmt: skip
NOT_TRUTHS = (b"2", b"-1", b"0.5", b'"%s"' % CANARY.encode(), b'"TRUE "', b'"0"', b'"null"', b"1e308")
NOT_TIMES = (
    b"1", b"0.5", b"true", b"-1e308", b'"%s"' % CANARY.encode(), b'"2011-13-01"', b'"2011-02-30"', b'"0000-00-00"',
    b'"0001-01-01"', b'"9999-12-31T23:59:59"', b'"2011-01-01T25:00:00"', b'"2011-01-01T00:00:00+99:99"', b'"infinity"',
    b'"-2000-01-01"', b'"now"', b'"12:00"', b'"2011-01-01T00:00:00' + b"0" * 500 + b'"', b'"31/12/2011"', b'"\\u0000"',
    "\"２０１１-01-01\"".encode(), b'"1899-12-31"', b'"2201-01-01"',
)  # fmt: skip
NOT_TEXT = (b"1", b"0.5", b"true", b"false", b"-9007199254740993")
ODD = (
    b"null", b'""', b"-0", b"0", b"1", b"1e308", b"-1e308", b"5e-324", b"1e-400", b"9007199254740993",
    b"18446744073709551616",
    b"0.1000000000000000055511151231257827021181583404541015625", b"1E+2", b'"\\u0000"', b'"\\u202e\\u200b\\ufeff"',
    '"\U0001f600\u202eé"'.encode(), b'" "', b'"\\n\\t\\r"', b'"2011-W01-1"', b'"20110101T000000Z"', b'"2011-01-01"',
    b'"</script><script>alert(1)</script>"', b'"\'; DROP TABLE predictions; --"', b'"%s%n%x"',
    b'"${jndi:ldap://127.0.0.1/a}"',
    b'"{{7*7}}"', b'"=cmd|\' /C calc\'!A0"', b'"../../../../etc/passwd"', b'"\\u000d\\u000aSet-Cookie: a=b"',
    b'"Robert\\u0000"',
    json.dumps("y" * 9_999).encode(), b'"file:///etc/passwd"', b'"http://169.254.169.254/latest"',
)  # fmt: skip
"""JSON that some column may take: no demand but that nothing breaks."""
OF_KIND = {
    "number": NOT_NUMBERS, "integer": NOT_NUMBERS, "boolean": NOT_TRUTHS, "datetime": NOT_TIMES, "category": NOT_TEXT,
}  # fmt: skip
