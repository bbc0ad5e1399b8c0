// SPDX-License-Identifier: Apache-2.0
#include "image/image_policy.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::image;

namespace {

std::string verdict(const std::string& text, const char* name) {
  auto policy = parse_image_policy(text, "p.json");
  if (!policy) return policy.error().message;
  auto checked = policy->check(spec::parse_reference(name).value());
  return checked ? "accepted" : checked.error().message;
}

constexpr const char* kPolicy = R"({"default": [{"type": "reject"}], "transports": {"docker": {
  "a.example": [{"type": "insecureAcceptAnything"}],
  "a.example/bad": [{"type": "reject"}],
  "a.example/bad/one:good": [{"type": "insecureAcceptAnything"}],
  "*.wild.example": [{"type": "insecureAcceptAnything"}],
  "*.very.wild.example": [{"type": "insecureAcceptAnything"}, {"type": "reject"}],
  "signed.example": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}, {"type": "insecureAcceptAnything"}]
}, "docker-archive": {"": [{"type": "insecureAcceptAnything"}]}}})";

}  // namespace

TEST_CASE("the longest scope of a name rules") {
  CHECK(verdict(kPolicy, "a.example/x:1") == "accepted");
  CHECK(verdict(kPolicy, "a.example/badly/x:1") == "accepted");
  CHECK(verdict(kPolicy, "a.example/bad/one:1") == "the image policy rejects 'a.example/bad/one:1'");
  CHECK(verdict(kPolicy, "a.example/bad:1") == "the image policy rejects 'a.example/bad:1'");
  CHECK(verdict(kPolicy, "a.example/bad/one:good") == "accepted");
  CHECK(verdict(kPolicy, "sub.wild.example/x") == "accepted");
  CHECK(verdict(kPolicy, "wild.example/x") == "the image policy rejects 'wild.example/x'");
  CHECK(verdict(kPolicy, "more.very.wild.example/x") == "the image policy rejects 'more.very.wild.example/x'");
  CHECK(verdict(kPolicy, "busybox") == "the image policy rejects 'docker.io/library/busybox'");
}

TEST_CASE("a signature that is demanded is not taken for given") {
  CHECK(verdict(kPolicy, "signed.example/x:1") ==
        "the image policy demands a signature (signedBy) of 'signed.example/x:1', and this engine does not verify "
        "signatures");
}

TEST_CASE("archives, and no file at all") {
  CHECK(parse_image_policy(kPolicy, "p").value().check_archive());
  CHECK(!parse_image_policy(R"({"default": [{"type": "reject"}]})", "p").value().check_archive());
  CHECK(ImagePolicy{}.check_archive());
  CHECK(ImagePolicy{}.check(spec::parse_reference("busybox").value()));
}

TEST_CASE("what the format does not know is a mistake") {
  for (const char* text :
       {"", "[]", "{}", R"({"default": []})", R"({"default": [{"type": "sometimes"}]})", R"({"default": [{}]})",
        R"({"default": [{"type": "reject"}], "defaults": []})", R"({"default": {"type": "reject"}})",
        R"({"default": [{"type": "reject"}], "transports": {"docker": [{"type": "reject"}]}})",
        R"({"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"x": []}}})"})
    CHECK_MESSAGE(!parse_image_policy(text, "p"), text);
}
