// SPDX-License-Identifier: Apache-2.0
#include "wire/http_parser.h"

#include <algorithm>

#include "base/text.h"

namespace caisson::http {

namespace {

constexpr size_t kMaxChunkOverhead = 16 << 10;

std::unexpected<ParseFailure> bad(int status, std::string message) {
  return std::unexpected(ParseFailure{status, std::move(message)});
}

bool is_token_byte(char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

bool is_token(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_token_byte); }

bool is_field_byte(char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); }

std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string_view take_line(std::string_view& text) {
  size_t end = text.find("\r\n");
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 2);
  return line;
}

// "HTTP/1.x"
Parsed<int> parse_version(std::string_view text) {
  if (text.size() != 8 || !text.starts_with("HTTP/") || text[6] != '.' || text[5] < '0' || text[5] > '9' ||
      text[7] < '0' || text[7] > '9')
    return bad(400, "malformed HTTP version");
  if (text[5] != '1') return bad(505, "HTTP version not supported");
  return text[7] - '0';
}

struct FieldSummary {
  int hosts = 0;
  bool has_length = false, has_coding = false, chunked = false, close = false, keep_alive = false, expect = false;
};

Parsed<FieldSummary> parse_fields(std::string_view text, size_t max_headers, MessageHead& head) {
  FieldSummary seen;
  size_t count = 0;
  while (true) {
    std::string_view line = take_line(text);
    if (line.empty()) break;
    if (++count > max_headers) return bad(431, "too many header fields");
    size_t colon = line.find(':');
    // A name that is no token covers folded lines and blanks before the colon too.
    if (colon == line.npos || !is_token(line.substr(0, colon))) return bad(400, "malformed header field");
    std::string_view name = line.substr(0, colon);
    std::string_view value = trim_blanks(line.substr(colon + 1));
    if (!std::all_of(value.begin(), value.end(), is_field_byte)) return bad(400, "control byte in a header field");
    switch (name.size()) {
      case 4: seen.hosts += equals_ignore_case(name, "host"); break;
      case 6:
        if (equals_ignore_case(name, "expect") && equals_ignore_case(value, "100-continue")) seen.expect = true;
        break;
      case 10:
        if (equals_ignore_case(name, "connection")) {
          seen.close |= has_token(value, "close");
          seen.keep_alive |= has_token(value, "keep-alive");
        }
        break;
      case 14:
        if (equals_ignore_case(name, "content-length")) {
          std::optional<uint64_t> length = parse_uint(value);
          if (seen.has_length || value.starts_with('+') || !length || *length > INT64_MAX)
            return bad(400, "malformed or repeated Content-Length");
          seen.has_length = true;
          head.content_length = *length;
        }
        break;
      case 17:
        if (equals_ignore_case(name, "transfer-encoding")) {
          if (seen.has_coding) return bad(400, "repeated Transfer-Encoding");
          seen.has_coding = true;
          seen.chunked = equals_ignore_case(value, "chunked");
        }
        break;
    }
    head.headers.add(std::string(name), std::string(value));
  }
  if (!text.empty()) return bad(400, "malformed message head");
  if (seen.has_coding && seen.has_length) return bad(400, "both Transfer-Encoding and Content-Length");
  if (seen.has_coding && !seen.chunked) return bad(501, "transfer coding not supported");
  if (seen.has_coding && head.minor_version == 0) return bad(400, "Transfer-Encoding in HTTP/1.0");
  if (seen.chunked) head.framing = Framing::kChunked;
  if (seen.has_length) head.framing = Framing::kLength;
  head.keep_alive = head.minor_version == 0 ? seen.keep_alive && !seen.close : !seen.close;
  return seen;
}

}  // namespace

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    std::string_view item = list.substr(0, list.find(','));
    list.remove_prefix(std::min(item.size() + 1, list.size()));
    if (equals_ignore_case(trim_blanks(item), token)) return true;
  }
  return false;
}

Parsed<size_t> find_head_end(std::string_view buffer, size_t& from) {
  while (true) {
    size_t at = buffer.find('\n', from);
    if (at == buffer.npos) {
      from = buffer.size();
      return 0;
    }
    if (at == 0 || buffer[at - 1] != '\r') return bad(400, "line end without carriage return");
    from = at + 1;
    if (at >= 3 && buffer[at - 2] == '\n') return at + 1;
  }
}

Parsed<RequestHead> parse_request_head(std::string_view text, size_t max_headers) {
  RequestHead head;
  std::string_view line = take_line(text);
  size_t first = line.find(' '), last = line.rfind(' ');
  if (first == line.npos || first == last) return bad(400, "malformed request line");
  std::string_view method = line.substr(0, first), target = line.substr(first + 1, last - first - 1);
  if (!is_token(method) || method.size() > 32) return bad(400, "malformed request method");
  auto version = parse_version(line.substr(last + 1));
  if (!version) return std::unexpected(version.error());
  head.minor_version = *version;

  if (std::any_of(target.begin(), target.end(),
                  [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }))
    return bad(400, "malformed request target");
  head.method = method;
  head.target = target;
  if (target.starts_with("http://") || target.starts_with("https://")) {
    target.remove_prefix(target.find("//") + 2);
    size_t slash = target.find_first_of("/?");
    target = slash == target.npos ? "/" : target.substr(slash);
  }
  size_t mark = target.find('?');
  if (mark != target.npos) head.query = target.substr(mark + 1);
  auto path = percent_decode(target.substr(0, mark), false);
  if (!path || !path->starts_with('/') || path->contains('\0')) return bad(400, "malformed request target");
  head.path = std::move(*path);

  auto seen = parse_fields(text, max_headers, head);
  if (!seen) return std::unexpected(seen.error());
  if (seen->hosts > 1 || (seen->hosts == 0 && head.minor_version > 0)) return bad(400, "missing or repeated Host");
  head.expect_continue = seen->expect && head.minor_version > 0;
  return head;
}

Parsed<ResponseHead> parse_response_head(std::string_view text, size_t max_headers, bool to_head_request) {
  ResponseHead head;
  std::string_view line = take_line(text);
  auto version = parse_version(line.substr(0, 8));
  if (!version) return std::unexpected(version.error());
  head.minor_version = *version;
  auto status = line.size() >= 12 && line[8] == ' ' ? parse_uint(line.substr(9, 3)) : std::nullopt;
  if (!status || *status < 100 || (line.size() > 12 && line[12] != ' ')) return bad(400, "malformed status line");
  head.status = static_cast<int>(*status);
  head.framing = Framing::kUntilClose;
  auto seen = parse_fields(text, max_headers, head);
  if (!seen) return std::unexpected(seen.error());
  if (to_head_request || head.status < 200 || head.status == 204 || head.status == 304) head.framing = Framing::kNone;
  if (head.framing == Framing::kUntilClose) head.keep_alive = false;
  return head;
}

std::expected<void, ParseFailure> ChunkedDecoder::framing_byte(char c) {
  switch (state_) {
    case State::kSize: {
      int digit = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
      if (digit >= 0) {
        if (++digits_ > 15) return bad(400, "chunk size too big");
        left_ = left_ << 4 | static_cast<uint64_t>(digit);
      } else if (digits_ == 0) {
        return bad(400, "malformed chunk size");
      } else if (c == '\r') {
        state_ = State::kSizeLf;
      } else if (c == ';' || c == ' ' || c == '\t') {
        state_ = State::kExtension;
      } else {
        return bad(400, "malformed chunk size");
      }
      return {};
    }
    case State::kExtension:
      if (c == '\r')
        state_ = State::kSizeLf;
      else if (!is_field_byte(c))
        return bad(400, "malformed chunk extension");
      else if (++overhead_ > kMaxChunkOverhead)
        return bad(400, "chunk extensions too big");
      return {};
    case State::kSizeLf:
      if (c != '\n') return bad(400, "malformed chunk size");
      digits_ = 0;
      state_ = left_ == 0 ? State::kTrailer : State::kData;
      return {};
    case State::kDataCr:
      if (c != '\r') return bad(400, "malformed chunk end");
      state_ = State::kDataLf;
      return {};
    case State::kDataLf:
      if (c != '\n') return bad(400, "malformed chunk end");
      state_ = State::kSize;
      return {};
    case State::kTrailer:
      if (c == '\r') {
        state_ = State::kEndLf;
        return {};
      }
      state_ = State::kTrailerText;
      [[fallthrough]];
    case State::kTrailerText:
      if (c == '\r')
        state_ = State::kTrailerLf;
      else if (!is_field_byte(c))
        return bad(400, "malformed trailer");
      else if (++overhead_ > kMaxChunkOverhead)
        return bad(400, "trailers too big");
      return {};
    case State::kTrailerLf:
      if (c != '\n') return bad(400, "malformed trailer");
      state_ = State::kTrailer;
      return {};
    case State::kEndLf:
      if (c != '\n') return bad(400, "malformed end of the body");
      state_ = State::kDone;
      return {};
    case State::kData:
    case State::kDone: break;
  }
  return {};
}

Parsed<ChunkedDecoder::Step> ChunkedDecoder::next(std::string_view input) {
  Step step;
  while (step.consumed < input.size() && state_ != State::kDone) {
    if (state_ == State::kData) {
      step.data = input.substr(step.consumed, left_);
      step.consumed += step.data.size();
      left_ -= step.data.size();
      if (left_ == 0) state_ = State::kDataCr;
      return step;
    }
    if (auto good = framing_byte(input[step.consumed]); !good) return std::unexpected(good.error());
    ++step.consumed;
  }
  return step;
}

}  // namespace caisson::http
