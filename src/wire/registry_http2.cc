// SPDX-License-Identifier: Apache-2.0
#include "wire/registry_http2.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/text.h"

namespace caisson::registry {
namespace {

constexpr int32_t kWindow = 1 << 20;  // what a server may send before the caller has read it
constexpr size_t kReadSize = 64 << 10;
constexpr size_t kMaxHeaders = 500, kMaxHeaderBytes = 256 << 10;

struct FreeSession {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};

std::unexpected<Error> library_error(int code) {
  return fail(ErrorKind::kUnavailable, "http2: %s", nghttp2_strerror(code));
}

class Http2Connection : public Connection {
 public:
  Http2Connection(std::unique_ptr<http::Transport> transport, std::string authority, int limit_s)
      : transport_(std::move(transport)), authority_(std::move(authority)), limit_s_(limit_s) {}

  Result<> start() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* option = nullptr;
    nghttp2_session* session = nullptr;
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0) {
      nghttp2_session_callbacks_del(callbacks);
      return fail(ErrorKind::kExhausted, "http2: no memory");
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    // Bytes count as taken when the caller has read them, so what waits here is bounded.
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, kMaxHeaderBytes);
    int made = nghttp2_session_client_new2(&session, callbacks, this, option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    if (made != 0) return library_error(made);
    session_.reset(session);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                               {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1},
                                               {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow},
                                               {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHeaderBytes}};
    if (int code = nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, std::size(settings)))
      return library_error(code);
    if (int code = nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kWindow))
      return library_error(code);
    return flush();
  }

  Result<http::ClientResponse> open(const http::ClientRequest& request) override {
    if (!reusable() && stream_ != 0)
      return fail(ErrorKind::kUnavailable, "http2: the connection cannot take a request");
    head_ = {};
    body_.clear();
    used_ = header_bytes_ = sent_ = 0;
    head_done_ = closed_ = upload_done_ = false;
    close_code_ = 0;
    upload_error_.reset();
    source_ = request.body_stream;
    text_ = request.body;
    expected_ = request.body_stream ? request.body_size : static_cast<int64_t>(request.body.size());
    bool has_body = request.body_stream || !request.body.empty();
    bool wants_length = has_body || (request.method != "GET" && request.method != "HEAD" && request.method != "DELETE");
    upload_done_ = !has_body;

    std::vector<std::pair<std::string, std::string>> fields = {
        {":method", request.method}, {":scheme", "https"}, {":authority", authority_}, {":path", request.target}};
    for (const auto& [name, value] : request.headers.list()) {
      std::string lower = to_lower(name);
      if (lower == "host" || lower == "connection" || lower == "transfer-encoding" || lower == "content-length")
        continue;
      fields.emplace_back(std::move(lower), value);
    }
    if (wants_length && expected_ >= 0) fields.emplace_back("content-length", std::to_string(expected_));
    std::vector<nghttp2_nv> raw;
    for (auto& [name, value] : fields)
      raw.push_back({reinterpret_cast<uint8_t*>(name.data()), reinterpret_cast<uint8_t*>(value.data()), name.size(),
                     value.size(), NGHTTP2_NV_FLAG_NONE});
    nghttp2_data_provider provider{};
    provider.read_callback = on_upload;
    stream_ = nghttp2_submit_request(session_.get(), nullptr, raw.data(), raw.size(), has_body ? &provider : nullptr,
                                     nullptr);
    if (stream_ < 0) return broken(library_error(std::exchange(stream_, 1)).error());
    begun_ns_ = monotonic_ns();
    while (!head_done_) {
      TRY(flush());
      if (upload_error_) return broken(*upload_error_);
      if (head_done_) break;
      if (closed_) return broken(Error{ErrorKind::kUnavailable, 0, close_text()});
      TRY(receive());
    }
    return std::move(head_);
  }

  Result<size_t> read(std::span<char> buffer) override {
    begun_ns_ = monotonic_ns();
    while (used_ == body_.size()) {
      if (closed_ && close_code_ == NGHTTP2_NO_ERROR) return size_t{0};
      if (closed_) return broken(Error{ErrorKind::kUnavailable, 0, close_text()});
      TRY(flush());
      TRY(receive());
    }
    size_t size = std::min(buffer.size(), body_.size() - used_);
    memcpy(buffer.data(), body_.data() + used_, size);
    used_ += size;
    if (used_ == body_.size()) {
      body_.clear();
      used_ = 0;
    }
    if (closed_)
      nghttp2_session_consume_connection(session_.get(), size);
    else
      nghttp2_session_consume(session_.get(), stream_, size);
    TRY(flush());
    return size;
  }

  bool reusable() const override {
    return !broken_ && closed_ && close_code_ == NGHTTP2_NO_ERROR && upload_done_ && used_ == body_.size() &&
           nghttp2_session_check_request_allowed(session_.get());
  }

 private:
  static Http2Connection& self(void* user) { return *static_cast<Http2Connection*>(user); }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Connection& me = self(user);
    // An interim answer (1xx) is thrown away when the next one begins.
    if (frame->hd.stream_id == me.stream_ && !me.head_done_) me.head_ = {};
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t, void* user) {
    Http2Connection& me = self(user);
    if (frame->hd.stream_id != me.stream_ || me.head_done_) return 0;  // trailers
    me.header_bytes_ += name_size + value_size;
    if (me.header_bytes_ > kMaxHeaderBytes || me.head_.headers.list().size() >= kMaxHeaders)
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    std::string key(reinterpret_cast<const char*>(name), name_size);
    std::string text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":status") {
      auto number = parse_uint(text);
      me.head_.status = number && *number < 1000 ? static_cast<int>(*number) : 0;
    } else if (!key.starts_with(':')) {
      me.head_.headers.add(key, text);
    }
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Connection& me = self(user);
    if (frame->hd.stream_id == me.stream_ && frame->hd.type == NGHTTP2_HEADERS && me.head_.status >= 200)
      me.head_done_ = true;
    return 0;
  }

  static int on_data(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t size, void* user) {
    Http2Connection& me = self(user);
    if (stream == me.stream_) me.body_.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }

  static int on_close(nghttp2_session*, int32_t stream, uint32_t code, void* user) {
    Http2Connection& me = self(user);
    if (stream != me.stream_) return 0;
    me.closed_ = true;
    me.close_code_ = code;
    return 0;
  }

  static ssize_t on_upload(nghttp2_session*, int32_t, uint8_t* buffer, size_t length, uint32_t* flags,
                           nghttp2_data_source*, void* user) {
    Http2Connection& me = self(user);
    size_t size = 0;
    if (me.source_) {
      auto got = me.source_->read(std::span(reinterpret_cast<char*>(buffer), length));
      if (!got) {
        me.upload_error_ = std::move(got).error();
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      }
      size = *got;
    } else {
      size = std::min(length, me.text_.size() - static_cast<size_t>(me.sent_));
      memcpy(buffer, me.text_.data() + me.sent_, size);
    }
    me.sent_ += static_cast<int64_t>(size);
    me.begun_ns_ = monotonic_ns();
    bool end = me.expected_ >= 0 ? me.sent_ >= me.expected_ : size == 0;
    if (size == 0 && !end) {
      me.upload_error_ = Error{ErrorKind::kInvalid, 0, "http2: the request body is not of the announced size"};
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      me.upload_done_ = true;
    }
    return static_cast<ssize_t>(size);
  }

  Result<> flush() {
    while (true) {
      const uint8_t* data = nullptr;
      ssize_t size = nghttp2_session_mem_send(session_.get(), &data);
      if (size < 0) return broken(library_error(static_cast<int>(size)).error());
      if (size == 0) return {};
      auto sent = transport_->write(std::string_view(reinterpret_cast<const char*>(data), static_cast<size_t>(size)));
      if (!sent) return broken(std::move(sent).error());
    }
  }

  Result<> receive() {
    char buffer[kReadSize];
    auto got = transport_->read(buffer);
    if (!got) return broken(std::move(got).error());
    if (*got == 0) return broken(Error{ErrorKind::kUnavailable, 0, "http2: the connection ended inside an answer"});
    ssize_t used = nghttp2_session_mem_recv(session_.get(), reinterpret_cast<const uint8_t*>(buffer), *got);
    if (used < 0) return broken(library_error(static_cast<int>(used)).error());
    bool is_here = head_done_ && (used_ < body_.size() || closed_);
    if (!is_here && monotonic_ns() - begun_ns_ > int64_t{limit_s_} * 1'000'000'000)
      return broken(Error{ErrorKind::kTimeout, ETIME, format("no end within %d s", limit_s_)});
    return {};
  }

  std::unexpected<Error> broken(Error error) {
    broken_ = true;
    return std::unexpected(std::move(error));
  }
  std::string close_text() const { return std::string("http2: stream reset: ") + nghttp2_http2_strerror(close_code_); }

  std::unique_ptr<http::Transport> transport_;
  std::string authority_;
  const int limit_s_;
  int64_t begun_ns_ = 0;  // when the caller began to wait, or gave something of its body
  std::unique_ptr<nghttp2_session, FreeSession> session_;
  int32_t stream_ = 0;
  http::ClientResponse head_;
  size_t header_bytes_ = 0;
  std::string body_;  // received, read up to used_
  size_t used_ = 0;
  ByteSource* source_ = nullptr;
  std::string text_;
  int64_t expected_ = -1, sent_ = 0;
  bool head_done_ = false, closed_ = false, upload_done_ = true, broken_ = false;
  uint32_t close_code_ = 0;
  std::optional<Error> upload_error_;
};

}  // namespace

Result<std::unique_ptr<Connection>> open_http2(std::unique_ptr<http::Transport> transport, std::string authority,
                                               int limit_s) {
  auto connection = std::make_unique<Http2Connection>(std::move(transport), std::move(authority), limit_s);
  TRY(connection->start());
  return connection;
}

}  // namespace caisson::registry
