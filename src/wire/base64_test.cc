// SPDX-License-Identifier: Apache-2.0
#include "wire/base64.h"

#include <doctest/doctest.h>

using caisson::base64_decode_url;

TEST_CASE("base64: both alphabets, padding or not") {
  CHECK(base64_decode_url("aGk=") == "hi");
  CHECK(base64_decode_url("aGk") == "hi");
  CHECK(base64_decode_url("-_8") == base64_decode_url("+/8="));
  CHECK(base64_decode_url("") == "");
  CHECK(!base64_decode_url("a"));
  CHECK(!base64_decode_url("a b="));
}
