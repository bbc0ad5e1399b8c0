// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_protocol.h"

#include <algorithm>

#include "wire/digest.h"

namespace caisson::image {
namespace {

constexpr size_t kMaxText = 4096;
constexpr size_t kMaxIdentityToken = 16 << 10;

void clean(std::string& text) {
  if (text.size() > kMaxText) text.resize(kMaxText);
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
}

bool is_absent_or_digest(const std::string& text) { return text.empty() || digest::is_valid(text); }

}  // namespace

Result<FetchReply> parse_fetch_reply(const std::string& message) {
  FetchReply reply = TRY_CTX(json::decode<FetchReply>(message), "message of the fetch worker");
  for (std::string* text : {&reply.error_kind, &reply.message, &reply.code, &reply.media_type, &reply.note})
    clean(*text);
  for (char c : reply.identity_token)
    if (static_cast<unsigned char>(c) < 0x20 || reply.identity_token.size() > kMaxIdentityToken)
      return fail(ErrorKind::kCorrupt, "message of the fetch worker: malformed identity token");
  if (!is_absent_or_digest(reply.digest))
    return fail(ErrorKind::kCorrupt, "message of the fetch worker: malformed digest");
  if (reply.done && !reply.ok && reply.message.empty()) reply.message = "fetch worker failed without a reason";
  reply.size = std::max<int64_t>(reply.size, -1);
  return reply;
}

Result<FetchJob> parse_fetch_job(const std::string& message) {
  FetchJob job = TRY_CTX(json::decode<FetchJob>(message), "message of the engine");
  if (!is_absent_or_digest(job.digest)) return fail(ErrorKind::kInvalid, "message of the engine: malformed digest");
  if (job.offset < 0 || (job.offset > 0 && job.offset > job.size))
    return fail(ErrorKind::kInvalid, "message of the engine: offset out of range");
  return job;
}

ErrorKind error_kind_of_name(const std::string& name) {
  for (int kind = 0; kind < static_cast<int>(ErrorKind::kInternal); ++kind)
    if (name == error_kind_name(static_cast<ErrorKind>(kind))) return static_cast<ErrorKind>(kind);
  return ErrorKind::kInternal;
}

}  // namespace caisson::image
