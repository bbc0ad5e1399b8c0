// SPDX-License-Identifier: Apache-2.0
// Headers a registry sends: challenges, locations, error documents; and the credentials a client sends.
#include <cstdint>
#include <cstdlib>

#include "wire/registry_auth.h"
#include "wire/registry_url.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::registry;
  std::string text(reinterpret_cast<const char*>(data), size);
  auto challenges = parse_challenges(text);
  if (challenges.size() > 16) abort();
  static const Url base = *parse_url("https://registry.example/v2/a/blobs/x");
  if (auto url = resolve_location(base, text)) {
    auto again = parse_url(url->text());
    if (!again || !again->same_origin(*url)) abort();
  }
  if (auto credentials = parse_auth_config(text)) (void)token_query(Challenge{}, {text}, credentials->username);
  for (auto& challenge : challenges) (void)token_form(challenge, {text}, Credentials{.username = text});
  (void)scope_of_address(text);
  (void)parse_registry_error(text);
  (void)parse_token(text);
  return 0;
}
