"""What is not sent, because no document can say that it is wrong."""

import schemathesis


def names(parameters):
    return {name.lower() for name in parameters or {}}


@schemathesis.hook
def filter_case(context, case):
    headers = names(case.headers)
    # A cursor is signed: none can be made up, and it excludes an offset. The conformance suite pages by real ones.
    cursor = "after" in names(case.query) or (isinstance(case.body, dict) and "after" in case.body)
    # One condition on the version excludes the other.
    conditions = {"if-match", "if-none-match"} <= headers
    # The coverage phase takes the quotes off a tag; what is no tag is refused, as the conformance suite shows.
    tag = next((value for name, value in (case.headers or {}).items() if name.lower() == "if-match"), '""')
    unquoted = str(tag) != "*" and not str(tag).startswith('"')
    # HTTP ignores headers that it does not know (RFC 9110, section 5.1).
    unknown = "x-schemathesis-unknown-property" in headers
    return not (cursor or conditions or unquoted or unknown)
