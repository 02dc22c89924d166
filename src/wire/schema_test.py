#!/usr/bin/env python3
"""Tests of schema.py: what the notation means, and that mistakes in it are named with their line."""

import sys
import unittest

sys.dont_write_bytecode = True  # the source tree stays as it is
import schema  # noqa: E402
from schema import SchemaError, Versions  # noqa: E402

GOOD = """# Says hello.
api Hello 7
versions 1-5
flexible 4+
advertise 0-5

request
  name    string?2+  = null   # of whom
  guests  []Guest?  3+  ignorable
    age   int32  = -1
    seat  uuid   4-9  tag 2
  loud    bool

response
  error_code  error

versions 0-2
key HelloKey 9
  name  string
"""


def field(message: schema.Message, name: str) -> schema.Field:
    return next(one for struct in [message.root, *message.structs()] for one in struct.fields if one.name == name)


class Notation(unittest.TestCase):
    def setUp(self):
        self.request, self.response, self.key = schema.parse(GOOD)

    def test_messages_are_named_after_their_api(self):
        self.assertEqual([self.request.name, self.response.name, self.key.name], ["HelloRequest", "HelloResponse", "HelloKey"])
        self.assertEqual([self.request.key, self.key.key], [7, 9])
        self.assertEqual(self.request.comment, "Says hello.")

    def test_a_plus_ends_at_the_highest_version(self):
        self.assertEqual(self.request.flexible, Versions(4, 5))
        self.assertEqual(field(self.request, "name").nullable, Versions(2, 5))

    def test_directives_hold_until_the_next_versions_line(self):
        self.assertEqual(self.request.advertised, Versions(0, 5))
        self.assertEqual(self.key.advertised, Versions(0, 2))
        self.assertFalse(self.key.flexible)

    def test_fields_of_a_struct_live_in_the_versions_of_the_struct(self):
        self.assertEqual(field(self.request, "age").versions, Versions(3, 5))
        self.assertEqual(field(self.request, "seat").versions, Versions(4, 5))

    def test_a_field_carries_what_its_line_says(self):
        guests, seat, name = (field(self.request, one) for one in ("guests", "seat", "name"))
        self.assertTrue(guests.array and guests.ignorable and guests.nullable == Versions(3, 5))
        self.assertEqual((seat.tag, seat.default), (2, None))
        self.assertEqual((name.default, name.comment), ("null", "of whom"))

    def test_a_struct_apart_from_its_fields_is_one_struct_in_all_versions(self):
        text = "api A 1\nversions 0-3\nrequest\n  struct Item\n    x int32\n  a []Item 2+\n  b []Item 0-1\n"
        (message,) = schema.parse(text)
        a, b = message.root.fields
        self.assertIs(a.struct, b.struct)
        self.assertEqual(a.struct.versions, Versions(0, 3))
        self.assertEqual([struct.name for struct in message.structs()], ["Item"])


class Mistakes(unittest.TestCase):
    def refused(self, text: str, why: str):
        with self.assertRaisesRegex(SchemaError, why):
            schema.parse(text)

    def refused_field(self, line: str, why: str):
        self.refused(f"api A 1\nversions 0-3\nflexible 2+\nrequest\n{line}\n", why)

    def test_they_are_named_with_their_line(self):
        self.refused_field("  name strin", "line 5: 'strin' is neither one of bool, int8")
        self.refused_field("  name string sometimes", "line 5: 'sometimes' is not a range of versions")
        self.refused_field("  name", "line 5: a field is written: name type")
        self.refused("hello\n", "line 1: expected api, versions")
        self.refused("api A 1\nrequest\n", "line 2: the line `versions` must come before")

    def test_indentation_must_belong_to_a_struct(self):
        self.refused_field("  name string\n    deeper int32", "line 6: only the fields of a struct are indented further")
        self.refused_field("  list []Item\n    a int32\n   b int32", "line 7: indentation of no open struct")

    def test_structs_need_fields_and_fields_names_of_their_own(self):
        self.refused_field("  list []Item", "the struct Item of ARequest.list has no fields")
        self.refused_field("  a int32\n  a int32", "names a field twice")
        self.refused_field("  a Item\n    x int32\n  b Item\n    y int32", "describes a struct twice")
        self.refused_field("  struct Item\n    x int32\n  a Item\n    y int32", "line 8: ARequest describes a struct twice")
        self.refused_field("  struct Item\n    x int32\n  a int32", "ARequest describes the struct Item for no field")
        self.refused_field("  struct Item\n  a Item", "the struct Item of ARequest.a has no fields")

    def test_a_struct_that_may_be_null_is_null_by_default(self):
        self.refused_field("  a Item?\n    x int32", "the struct ARequest.a may be null: write = null")

    def test_a_field_must_be_in_some_version(self):
        self.refused_field("  a int32 7+", "a is in none of the message's versions")

    def test_tags_need_flexible_versions_and_numbers_of_their_own(self):
        self.refused_field("  a int32 2+ tag 0\n  b int32 2+ tag 0", "gives a tag twice")
        self.refused_field("  a int32 1+ tag 0", "has a tag in a version that is not flexible")
        self.refused("api A 1\nversions 0-3\nrequest\n  a int32 tag 0\n", "has a tag in a version that is not flexible")


if __name__ == "__main__":
    unittest.main()
