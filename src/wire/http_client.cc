// SPDX-License-Identifier: Apache-2.0
#include "wire/http_client.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "wire/http_parser.h"

namespace caisson::http {

namespace {
constexpr size_t kMaxHead = 256 << 10;
constexpr size_t kMaxHeaders = 500;
constexpr size_t kReadSize = 64 << 10;
}  // namespace

struct Client::State {
  std::unique_ptr<Transport> transport;
  std::string host;
  std::string input;  // bytes read and not used yet start at `used`
  size_t used = 0;
  Framing framing = Framing::kNone;
  uint64_t left = 0;
  ChunkedDecoder decoder;
  bool keep_alive = false;
  bool fresh = true;  // nothing sent yet
  bool body_done = false;
  bool broken = false;

  std::string_view pending() const { return std::string_view(input).substr(used); }
  void drop(size_t count) {
    used += count;
    if (used == input.size()) {
      input.clear();
      used = 0;
      if (input.capacity() > 2 * kReadSize) input.shrink_to_fit();
    }
  }

  Result<size_t> fill() {
    if (used) input.erase(0, std::exchange(used, 0));
    size_t before = input.size();
    input.resize(before + kReadSize);
    auto got = transport->read({input.data() + before, kReadSize});
    input.resize(before + (got ? *got : 0));
    return got;
  }

  Result<> send(const ClientRequest& request);
  Result<> send_body(ByteSource& body, int64_t size);
  Result<ClientResponse> read_head(bool to_head_request);
  std::unexpected<Error> malformed(const ParseFailure& failure) {
    broken = true;
    return fail(ErrorKind::kCorrupt, "http: malformed answer: %s", failure.message.c_str());
  }
  std::unexpected<Error> cut() {
    broken = true;
    return fail(ErrorKind::kUnavailable, "http: the connection ended inside an answer");
  }
};

Client::Client(std::unique_ptr<Transport> transport, std::string host_header) : state_(std::make_unique<State>()) {
  state_->transport = std::move(transport);
  state_->host = std::move(host_header);
}
Client::~Client() = default;
int Client::fd() const { return state_->transport ? state_->transport->fd() : -1; }
bool Client::has_pending() const { return !state_->pending().empty() || state_->body_done; }

Result<> Client::State::send_body(ByteSource& body, int64_t size) {
  std::string buffer(kReadSize, '\0');
  uint64_t sent = 0;
  while (true) {
    size_t got = TRY(body.read(std::span(buffer)));
    sent += got;
    if (size >= 0 && (sent > static_cast<uint64_t>(size) || (got == 0 && sent < static_cast<uint64_t>(size))))
      return fail(ErrorKind::kInvalid, "http: the request body is not of the announced size");
    if (size >= 0) {
      if (got == 0) return {};
      TRY(transport->write(std::string_view(buffer).substr(0, got)));
    } else {
      if (got == 0) return transport->write("0\r\n\r\n");
      TRY(transport->write(format("%zx\r\n", got) + buffer.substr(0, got) + "\r\n"));
    }
  }
}

Result<> Client::State::send(const ClientRequest& request) {
  std::string head = request.method + " " + request.target + " HTTP/1.1\r\n";
  if (!request.headers.find("Host")) head += "Host: " + host + "\r\n";
  for (const auto& [name, value] : request.headers.list()) {
    if (name.find_first_of("\r\n: ") != name.npos || value.find_first_of("\r\n") != value.npos)
      return fail(ErrorKind::kInvalid, "http: header %s is malformed", quoted(name).c_str());
    if (equals_ignore_case(name, "Content-Length") || equals_ignore_case(name, "Transfer-Encoding")) continue;
    head += name + ": " + value + "\r\n";
  }
  if (request.target.find_first_of("\r\n ") != request.target.npos)
    return fail(ErrorKind::kInvalid, "http: target %s is malformed", quoted(request.target).c_str());
  bool has_body =
      !request.body.empty() || (request.method != "GET" && request.method != "HEAD" && request.method != "DELETE");
  if (request.body_stream)
    head += request.body_size >= 0 ? format("Content-Length: %lld\r\n", static_cast<long long>(request.body_size))
                                   : "Transfer-Encoding: chunked\r\n";
  else if (has_body)
    head += format("Content-Length: %zu\r\n", request.body.size());
  head += "\r\n";
  if (request.body_stream) {
    TRY(transport->write(head));
    return send_body(*request.body_stream, request.body_size);
  }
  if (request.body.size() < kReadSize) return transport->write(head + request.body);
  TRY(transport->write(head));
  return transport->write(request.body);
}

Result<ClientResponse> Client::State::read_head(bool to_head_request) {
  while (true) {
    size_t searched = 0, size = 0;
    while (true) {
      auto end = find_head_end(pending(), searched);
      if (!end) return malformed(end.error());
      if (*end) {
        size = *end;
        break;
      }
      if (pending().size() > kMaxHead) return malformed({431, "head too big"});
      bool started = !pending().empty();
      auto got = fill();
      if (!got) {
        broken = true;
        return std::unexpected(std::move(got).error());
      }
      if (*got == 0) {
        if (started) return cut();
        broken = true;
        return fail(ErrorKind::kUnavailable, "http: the connection was closed before an answer came");
      }
    }
    auto head = parse_response_head(pending().substr(0, size), kMaxHeaders, to_head_request);
    if (!head) return malformed(head.error());
    drop(size);
    if (head->status < 200 && head->status != 101) continue;  // 100 Continue, 103 Early Hints
    framing = head->framing;
    left = framing == Framing::kLength ? head->content_length : 0;
    decoder = {};
    keep_alive = head->keep_alive && head->status != 101;
    body_done = framing == Framing::kNone || (framing == Framing::kLength && left == 0);
    ClientResponse response;
    response.status = head->status;
    response.headers = std::move(head->headers);
    return response;
  }
}

Result<ClientResponse> Client::open(const ClientRequest& request) {
  if (!state_->transport || state_->broken || (!state_->fresh && !reusable()))
    return fail(ErrorKind::kUnavailable, "http: the connection cannot take another request");
  state_->fresh = false;
  state_->body_done = false;
  auto sent = state_->send(request);
  if (!sent) {
    // A server may refuse a body and close before it read all of it: its answer says why.
    bool reset = sent.error().err == EPIPE || sent.error().err == ECONNRESET;
    if (reset) {
      auto answer = state_->read_head(request.method == "HEAD");
      state_->keep_alive = false;
      if (answer) return answer;
    }
    state_->broken = true;
    return std::unexpected(std::move(sent).error());
  }
  return state_->read_head(request.method == "HEAD");
}

Result<size_t> Client::read(std::span<char> buffer) {
  State& s = *state_;
  if (s.body_done || buffer.empty()) return 0;
  if (s.broken) return s.cut();
  while (true) {
    if (s.framing == Framing::kChunked) {
      // Data that the buffer cannot take could not be given back to the decoder, so it sees no more than fits.
      auto step = s.decoder.next(s.pending().substr(0, buffer.size()));
      if (!step) return s.malformed(step.error());
      size_t size = step->data.copy(buffer.data(), buffer.size());
      s.drop(step->consumed);
      if (s.decoder.done()) s.body_done = true;
      if (size || s.body_done) return size;
      if (step->consumed) continue;
    } else if (!s.pending().empty()) {
      size_t size = std::min(s.pending().size(), buffer.size());
      if (s.framing == Framing::kLength) size = std::min<uint64_t>(size, s.left);
      memcpy(buffer.data(), s.pending().data(), size);
      s.drop(size);
      if (s.framing == Framing::kLength && (s.left -= size) == 0) s.body_done = true;
      return size;
    } else if (s.framing != Framing::kChunked && buffer.size() >= kReadSize) {
      // Big reads go past our buffer.
      size_t want = s.framing == Framing::kLength ? std::min<uint64_t>(buffer.size(), s.left) : buffer.size();
      auto direct = s.transport->read(buffer.subspan(0, want));
      if (!direct) {
        s.broken = true;
        return direct;
      }
      if (*direct == 0) {
        if (s.framing == Framing::kLength) return s.cut();
        s.body_done = true;
      }
      if (s.framing == Framing::kLength && (s.left -= *direct) == 0) s.body_done = true;
      return direct;
    }
    auto got = s.fill();
    if (!got) {
      s.broken = true;
      return got;
    }
    if (*got == 0) {
      if (s.framing != Framing::kUntilClose) return s.cut();
      s.body_done = true;
      return 0;
    }
  }
}

Result<ClientResponse> Client::request(const ClientRequest& request, size_t max_body) {
  ClientResponse response = TRY(open(request));
  if (state_->framing == Framing::kLength && state_->left > max_body)
    return fail(ErrorKind::kExhausted, "http: the answer is larger than %zu bytes", max_body);
  std::string buffer;
  while (!state_->body_done) {
    buffer.resize(16 << 10);
    size_t got = TRY(read(std::span(buffer)));
    response.body.append(buffer, 0, got);
    if (response.body.size() > max_body)
      return fail(ErrorKind::kExhausted, "http: the answer is larger than %zu bytes", max_body);
  }
  return response;
}

Client::Hijacked Client::hijack() {
  Hijacked result;
  result.leftover = state_->pending();
  result.fd = state_->transport->release();
  state_->transport.reset();
  state_->broken = true;
  return result;
}

bool Client::reusable() const {
  return !state_->broken && !state_->fresh && state_->body_done && state_->keep_alive && state_->pending().empty();
}

}  // namespace caisson::http
