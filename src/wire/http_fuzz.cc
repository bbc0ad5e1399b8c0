// SPDX-License-Identifier: Apache-2.0
// Heads of both directions and the chunked coding; the borders found must not depend on how bytes arrive.
#include <cstdlib>
#include <string>

#include "wire/http_parser.h"

namespace {

using namespace caisson::http;

std::string decode(std::string_view input, size_t step, bool& good, bool& done) {
  ChunkedDecoder decoder;
  std::string body;
  good = true;
  for (size_t at = 0; at < input.size() && !decoder.done();) {
    auto result = decoder.next(input.substr(at, step));
    if (!result) {
      good = false;
      break;
    }
    body += result->data;
    at += result->consumed;
  }
  done = decoder.done();
  return body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  size_t whole_from = 0, step_from = 0;
  auto whole = find_head_end(text, whole_from);
  Parsed<size_t> stepped = 0;
  for (size_t end = 1; end <= size && stepped && *stepped == 0; ++end)
    stepped = find_head_end(text.substr(0, end), step_from);
  if (whole.has_value() != stepped.has_value() || (whole && *whole != *stepped)) abort();
  if (whole && *whole) {
    auto request = parse_request_head(text.substr(0, *whole), 50);
    if (request && (!request->path.starts_with('/') || request->headers.list().size() > 50)) abort();
    (void)parse_response_head(text.substr(0, *whole), 50, false);
  }
  (void)Query::parse(text).encode();
  bool good[2], done[2];
  std::string all = decode(text, size, good[0], done[0]), bytes = decode(text, 1, good[1], done[1]);
  if (good[0] != good[1] || done[0] != done[1] || all != bytes) abort();
  return 0;
}
