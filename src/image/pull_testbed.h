// SPDX-License-Identifier: Apache-2.0
// For pull_test.cc alone: a registry that answers byte for byte what a test wants, a store in memory, and a pull or
// push between them.
#pragma once

#include "image/pull.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zstd.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/text.h"
#include "image/fetch_endpoints.h"
#include "image/fetch_worker.h"
#include "image/pull_layers.h"
#include "sys/files.h"
#include "sys/unix_socket.h"
#include "wire/compress.h"
#include "wire/digest.h"

using namespace caisson;
using namespace caisson::image;

namespace {

struct SeenRequest {
  std::string method, target, authorization, range, body;
};
using Answer = std::function<std::string(const SeenRequest&)>;

std::string response(const std::string& status, const std::string& headers, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\nConnection: close\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// One request per connection; what is answered is up to the test, byte for byte.
class HostileServer {
 public:
  explicit HostileServer(Answer answer)
      : answer_(std::move(answer)), listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(listen(listener_.get(), 16) == 0);
    REQUIRE(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~HostileServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    for (auto& handler : handlers_) handler.join();
  }
  std::string at(const std::string& host) const { return host + ":" + std::to_string(port_); }
  std::vector<SeenRequest> seen() {
    std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  void serve() {
    while (true) {
      int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      handlers_.emplace_back([this, fd] { handle(UniqueFd(fd)); });
    }
  }
  void handle(UniqueFd connection) {
    std::string text;
    size_t head_end, wanted = 0;
    char buffer[4096];
    while ((head_end = text.find("\r\n\r\n")) == std::string::npos || text.size() < head_end + 4 + wanted) {
      ssize_t got = recv(connection.get(), buffer, sizeof buffer, 0);
      if (got <= 0 || (text.empty() && buffer[0] == 0x16)) return;  // the client's first try is TLS
      text.append(buffer, static_cast<size_t>(got));
      head_end = text.find("\r\n\r\n");
      if (head_end != std::string::npos) wanted = parse_uint(header(text, "content-length")).value_or(0);
    }
    auto words = split(text.substr(0, text.find("\r\n")), ' ');
    SeenRequest request{words[0], words[1], header(text, "authorization"), header(text, "range"),
                        text.substr(head_end + 4)};
    {
      std::lock_guard lock(mutex_);
      seen_.push_back(request);
    }
    std::string out = answer_(request);
    (void)send(connection.get(), out.data(), out.size(), MSG_NOSIGNAL);
    shutdown(connection.get(), SHUT_WR);
    while (recv(connection.get(), buffer, sizeof buffer, 0) > 0) {
    }
  }
  static std::string header(const std::string& text, const std::string& name) {
    for (auto& line : split(text.substr(0, text.find("\r\n\r\n")), '\n'))
      if (auto parts = split_once(line, ':'); parts && equals_ignore_case(parts->first, name))
        return std::string(trim(parts->second));
    return "";
  }

  Answer answer_;
  UniqueFd listener_;
  int port_ = 0;
  std::mutex mutex_;
  std::vector<SeenRequest> seen_;
  std::vector<std::thread> handlers_;
  std::thread thread_;
};

class MemoryStore : public ImageStore {
 public:
  std::map<std::string, std::string> blobs;
  std::map<std::string, std::string> unpacked;
  std::vector<Image> images;
  std::set<std::string> lean_on_parents;  // diff-ids that add_layer takes only over their parents

  Result<std::vector<std::string>> load(ByteSource&, const Progress&, const std::optional<spec::Platform>&) override {
    return unused();
  }
  void use_worker(const std::string&) override {}
  Result<> save(const std::vector<std::string>&, ByteSink&) override { return unused(); }
  Result<Image> find(const std::string& reference) override {
    std::lock_guard lock(mutex_);
    for (auto& image : images)
      if (image.id == reference || std::count(image.repo_tags.begin(), image.repo_tags.end(), reference)) return image;
    return fail(ErrorKind::kNotFound, "No such image: %s", reference.c_str());
  }
  std::vector<Image> list() override { return images; }
  Result<> tag(const std::string& id, const std::string& repo, const std::string& tag) override {
    for (auto& image : images) std::erase(image.repo_tags, repo + ":" + tag);
    for (auto& image : images)
      if (image.id == id) image.repo_tags.push_back(repo + ":" + tag);
    return {};
  }
  Result<std::vector<RemovedImage>> remove(const std::string&, const RemoveOptions&, const FindUsers&) override {
    return unused();
  }
  void forget_unused(const FindUsers&) override {}
  Result<> hold_blobs(const std::vector<std::string>&, const std::string&, Hold) override { return {}; }
  Result<> release_blob(const std::string&, const std::string&) override { return {}; }
  Result<> adopt_blob(const std::string&, const std::string&) override { return unused(); }
  void collect_garbage() override {}
  void note_use(const std::string&) override {}
  int64_t last_use(const Image&) override { return 0; }
  Result<> write_uses() override { return {}; }
  StoreCheck check(bool, const FindUsers&) override { return {}; }
  Result<std::vector<HistoryEntry>> history(const std::string&) override { return unused(); }
  Result<LayerChain> layers(const std::string&) override { return unused(); }
  Usage usage() override { return {}; }
  bool has_blob(const std::string& digest) override {
    std::lock_guard lock(mutex_);
    return blobs.contains(digest);
  }
  bool has_layer(const std::string& diff_id) override {
    std::lock_guard lock(mutex_);
    return unpacked.contains(diff_id);
  }
  Result<UniqueFd> open_blob(const std::string& digest) override {
    std::lock_guard lock(mutex_);
    if (!blobs.contains(digest)) return fail(ErrorKind::kNotFound, "no blob");
    UniqueFd fd(memfd_create("blob", MFD_CLOEXEC));
    TRY(sys::write_all(fd.get(), blobs[digest]));
    lseek(fd.get(), 0, SEEK_SET);
    return fd;
  }
  Result<> add_blob(const std::string& digest, ByteSource& bytes) override {
    std::string text = TRY(drain(bytes));
    if (digest::sha256(text) != digest) return fail(ErrorKind::kCorrupt, "blob digest differs");
    std::lock_guard lock(mutex_);
    blobs[digest] = text;
    return {};
  }
  Result<std::unique_ptr<BlobIntake>> begin_blob(const std::string& digest, int64_t) override {
    return std::make_unique<Intake>(*this, digest);
  }
  int64_t drop_partial_blobs() override { return 0; }
  Result<MadeLayer> make_layer(const std::vector<std::string>&, ByteSource&) override { return unused(); }
  Result<> add_layer(const std::string& diff_id, const std::vector<std::string>& parents, ByteSource& tar) override {
    if (lean_on_parents.contains(diff_id))
      for (auto& parent : parents)
        if (!has_layer(parent)) return fail(ErrorKind::kConflict, "parents first");
    std::string text = TRY(drain(tar));
    if (digest::sha256(text) != diff_id) return fail(ErrorKind::kCorrupt, "layer digest differs");
    std::lock_guard lock(mutex_);
    unpacked[diff_id] = text;
    return {};
  }
  Result<std::string> commit_image(const std::string& manifest_digest, const std::string& repo_tag,
                                   const std::string& repo_digest, const std::string&) override {
    Image image;
    image.manifest_digest = manifest_digest;
    auto manifest = TRY(json::decode<spec::Manifest>(blobs[manifest_digest]));
    image.id = manifest.config.digest;
    image.config_json = blobs[image.id];
    image.config = TRY(json::decode<spec::ImageConfig>(image.config_json));
    for (auto& layer : manifest.layers) image.layer_digests.push_back(layer.digest);
    if (!repo_tag.empty()) image.repo_tags.push_back(repo_tag);
    image.repo_digests.push_back(repo_digest);
    std::lock_guard lock(mutex_);
    images.push_back(image);
    return image.id;
  }
  Result<> add_repo_digest(const std::string& id, const std::string& repo_digest) override {
    for (auto& image : images)
      if (image.id == id) image.repo_digests.push_back(repo_digest);
    return {};
  }
  std::shared_ptr<void> lease() override { return nullptr; }

  std::map<std::string, std::string> partial;  // by digest

 private:
  class Intake : public BlobIntake {
   public:
    Intake(MemoryStore& store, std::string digest) : store_(store), digest_(std::move(digest)) {}
    int64_t size() const override { return static_cast<int64_t>(text().size()); }
    Result<UniqueFd> open() const override {
      UniqueFd fd(memfd_create("partial", MFD_CLOEXEC));
      TRY(sys::write_all(fd.get(), text()));
      return fd;
    }
    Result<> write(std::string_view data) override {
      text() += data;
      return {};
    }
    Result<> finish() override {
      if (digest::sha256(text()) != digest_) return fail(ErrorKind::kCorrupt, "blob digest differs");
      std::string whole = std::move(text());
      std::lock_guard lock(store_.mutex_);
      store_.blobs[digest_] = std::move(whole);
      store_.partial.erase(digest_);
      return {};
    }
    Result<> restart() override {
      text().clear();
      return {};
    }

   private:
    std::string& text() const {
      std::lock_guard lock(store_.mutex_);
      return store_.partial[digest_];
    }
    MemoryStore& store_;
    std::string digest_;
  };

  static std::unexpected<Error> unused() { return fail(ErrorKind::kUnsupported, "not in this test"); }
  static Result<std::string> drain(ByteSource& source) {
    std::string out, buffer(8192, '\0');
    while (size_t size = TRY(source.read(buffer))) out.append(buffer, 0, size);
    return out;
  }
  std::mutex mutex_;
};

std::string gzip(const std::string& text) {
  struct Sink : ByteSink {
    std::string out;
    Result<> write(std::string_view data) override {
      out += data;
      return {};
    }
  } sink;
  compress::GzipSink encoder(sink);
  REQUIRE(encoder.write(text));
  REQUIRE(encoder.finish());
  return sink.out;
}

// An image of `count` layers and the documents a registry serves for it.
struct TestImage {
  std::vector<std::string> tars, blobs;
  std::string config, manifest;

  explicit TestImage(int count, size_t layer_size = 20000) {
    for (int i = 0; i < count; ++i) {
      std::string tar;
      while (tar.size() < layer_size) tar += digest::sha256(std::to_string(i) + "/" + std::to_string(tar.size()));
      tars.push_back(tar);
      blobs.push_back(gzip(tar));
    }
    describe();
  }
  TestImage(std::vector<std::string> layers, std::vector<std::string> compressed)
      : tars(std::move(layers)), blobs(std::move(compressed)) {
    describe();
  }
  void describe() {
    std::string diff_ids, layers;
    for (size_t i = 0; i < tars.size(); ++i) {
      diff_ids += std::string(i ? "," : "") + "\"" + digest::sha256(tars[i]) + "\"";
      layers += std::string(i ? "," : "") + descriptor(spec::kDockerLayerGzip, blobs[i]);
    }
    config =
        R"({"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[)" + diff_ids + "]}}";
    manifest = R"({"schemaVersion":2,"mediaType":")" + std::string(spec::kDockerManifest) + R"(","config":)" +
               descriptor(spec::kDockerConfig, config) + R"(,"layers":[)" + layers + "]}";
  }
  static std::string descriptor(std::string_view type, const std::string& content) {
    return "{\"mediaType\":\"" + std::string(type) + "\",\"size\":" + std::to_string(content.size()) +
           ",\"digest\":\"" + digest::sha256(content) + "\"}";
  }
  const std::string* blob(const std::string& digest) const {
    if (digest == digest::sha256(config)) return &config;
    for (auto& each : blobs)
      if (digest == digest::sha256(each)) return &each;
    return nullptr;
  }
  // What an honest registry answers to a GET.
  std::string answer(const SeenRequest& request) const {
    if (request.target == "/v2/") return response("200 OK", "", "{}");
    std::string name = request.target.substr(request.target.rfind('/') + 1);
    if (request.target.contains("/manifests/") && (name == "latest" || name == digest::sha256(manifest)))
      return response("200 OK", "Content-Type: " + std::string(spec::kDockerManifest) + "\r\n", manifest);
    if (auto* found = blob(name)) return response("200 OK", "", *found);
    return response("404 Not Found", "", R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]})");
  }
};

// One pull or push with its worker, session and store.
struct Trial {
  MemoryStore own_store;
  MemoryStore& store = own_store;
  Trial() = default;
  explicit Trial(MemoryStore& shared) : store(shared) {}
  std::string lines;
  std::string auth, platform, tag = "latest", digest;
  FetchConfig config;
  const std::atomic<bool>* cancel = nullptr;

  Result<std::string> run(const std::string& host, bool is_push = false) {
    signal(SIGPIPE, SIG_IGN);
    TransferRequest request{{host, "app", tag, digest}, auth, platform, cancel};
    auto sockets = TRY(sys::socket_pair(SOCK_SEQPACKET));
    std::thread worker([end = std::move(sockets.second)] { (void)serve_fetch(end.get(), RetryPolicy{3, 1}); });
    auto outcome = [&]() -> Result<std::string> {
      auto session = TRY(FetchSession::adopt(
          std::move(sockets.first),
          is_push ? TRY(push_endpoint(config, request)) : TRY(pull_endpoints(config, request)).back(), cancel));
      Progress progress = [this](const std::string& line) {
        std::lock_guard lock(mutex);
        lines += line;
      };
      return is_push ? push_over(store, *session, config, request, progress)
                     : pull_over(store, *session, config, request, progress);
    }();
    worker.join();
    return outcome;
  }
  bool is_empty() const { return store.images.empty() && store.unpacked.empty(); }
  bool said(const std::string& text) {
    std::lock_guard lock(mutex);
    return lines.contains(text);
  }
  std::mutex mutex;  // of lines, while another thread looks on
};

}  // namespace
