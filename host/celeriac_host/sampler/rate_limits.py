"""Which lines report an HTTP response with status 429.

The forms are those of `src/verify/journal-lines.ts`, which explains them: there they judge samples
of lines, here they count a day when nobody was connected. Tests ask both about the same lines.
"""

from __future__ import annotations

import re

NUMBER = "429"
# A complete number: not 4290, 429.5, 429-7, 429ms, 429%.
_CODE = r"429(?![\w%-]|\.\d|,\d)"
_FORMS = (
    r"(?<![\w.-])429 (?:Too Many Requests|Client Error)\b",
    rf"\bHTTPS?(?:/\d(?:\.\d)?)?\"?(?: error)? {_CODE}",
    r"\b(?:status(?:[ _-]?code)?|(?:error|response|http)[ _-]?code)"
    rf"\\?[\"']?(?: is| was| of)? ?[:=]{{0,2}} ?\(?\\?[\"']?{_CODE}",
    rf"\\?[\"']code\\?[\"'] ?: ?\\?[\"']?{_CODE}",
    r"<(?:Client)?Response \[429\b[^\]]{0,60}\]>",
    r"(?<![\w.-])429, ?message=",
    r"\b(?:TooManyRequests|ResourceExhausted|RateLimit\w*|HTTPError|HTTPStatusError|HTTPException"
    rf"|ClientResponseError|APIStatusError)(?:: |\()[\"']?{_CODE}",
    r"\btoo many 429 error responses\b",
)
# ASCII, as in JavaScript.
_STATUS = re.compile("|".join(_FORMS), re.IGNORECASE | re.ASCII)


def is_rate_limit(text: str) -> bool:
    return NUMBER in text and _STATUS.search(text) is not None
