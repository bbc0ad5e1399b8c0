// SPDX-License-Identifier: Apache-2.0
// Pull and push against a registry that misbehaves: the cases no honest one can show. The worker runs on a thread of
// this process, the registry on another, the store is in memory.
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

TEST_CASE("pull of an honest registry") {
  TestImage image(5);
  HostileServer server([&](const SeenRequest& request) { return image.answer(request); });
  Trial trial;
  trial.store.lean_on_parents.insert(digest::sha256(image.tars[3]));
  auto id = trial.run(server.at("127.0.0.1"));
  REQUIRE_MESSAGE(id, (id ? "" : id.error().message));
  CHECK(*id == digest::sha256(image.config));
  CHECK(trial.store.unpacked.size() == 5);
  CHECK(trial.store.unpacked[digest::sha256(image.tars[4])] == image.tars[4]);
  CHECK(trial.store.blobs[digest::sha256(image.manifest)] == image.manifest);
  CHECK(trial.lines.starts_with("{\"status\":\"Pulling from app\",\"id\":\"latest\"}\r\n"));
  CHECK(trial.lines.contains("Digest: " + digest::sha256(image.manifest)));
  CHECK(trial.lines.contains("Status: Downloaded newer image for " + server.at("127.0.0.1") + "/app:latest"));
  CHECK(trial.store.images[0].repo_digests[0] == server.at("127.0.0.1") + "/app@" + digest::sha256(image.manifest));

  size_t requests = server.seen().size();
  trial.lines.clear();
  REQUIRE(trial.run(server.at("127.0.0.1")));
  CHECK(trial.lines.contains("Status: Image is up to date for "));
  CHECK(server.seen().size() == requests + 2);  // ping and manifest
}

TEST_CASE("an unknown tag is a status, not a stream") {
  TestImage image(1);
  HostileServer server([&](const SeenRequest& request) { return image.answer(request); });
  Trial trial;
  trial.tag = "nosuch";
  auto id = trial.run(server.at("127.0.0.1"));
  REQUIRE(!id);
  CHECK(id.error().kind == ErrorKind::kNotFound);
  CHECK(id.error().message ==
        "manifest for " + server.at("127.0.0.1") + "/app:nosuch not found: manifest unknown: manifest unknown");
  CHECK(trial.lines.empty());
}

TEST_CASE("nobody listens") {
  Trial trial;
  UniqueFd reserved(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(bind(reserved.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  getsockname(reserved.get(), reinterpret_cast<sockaddr*>(&address), &size);
  std::string host = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  auto id = trial.run(host);
  REQUIRE(!id);
  CHECK(id.error().message == "Get \"http://" + host + "/v2/\": dial tcp " + host + ": connect: connection refused");
}

TEST_CASE("blobs that are not what their digest says") {
  TestImage image(2), other(3);
  HostileServer server([&](const SeenRequest& request) {
    if (request.target.contains(digest::sha256(image.blobs[1]))) {
      std::string wrong = image.blobs[1];
      wrong[wrong.size() / 2] ^= 1;
      return response("200 OK", "", wrong);
    }
    return image.answer(request);
  });
  Trial trial;
  auto id = trial.run(server.at("127.0.0.1"));
  REQUIRE(!id);
  CHECK(trial.store.images.empty());
  CHECK(!trial.store.unpacked.contains(digest::sha256(image.tars[1])));
  CHECK(trial.lines.contains("{\"errorDetail\":{\"message\":"));
}

TEST_CASE("a valid blob of the wrong length, a config and a manifest with the wrong digest") {
  TestImage image(1);
  std::string broken;
  HostileServer server([&](const SeenRequest& request) {
    std::string honest = image.answer(request);
    if (broken == "long" && request.target.contains(digest::sha256(image.blobs[0])))
      return response("200 OK", "", image.blobs[0] + "x");
    if (broken == "config" && request.target.contains(digest::sha256(image.config))) {
      std::string wrong = image.config;
      wrong[20] = 'X';
      return response("200 OK", "", wrong);
    }
    if (broken == "manifest" && request.target.contains("/manifests/"))
      return response("200 OK", "Docker-Content-Digest: " + digest::sha256("x") + "\r\n", image.manifest);
    return honest;
  });
  for (auto [what, text] : {std::pair("long", "is larger than the"),
                            {"config", "image config verification failed for digest"},
                            {"manifest", "manifest verification failed for digest"}}) {
    broken = what;
    Trial trial;
    auto id = trial.run(server.at("127.0.0.1"));
    REQUIRE_MESSAGE(!id, what);
    CHECK_MESSAGE(id.error().message.contains(text), id.error().message);
    CHECK(trial.is_empty());
  }
  broken.clear();
  Trial by_digest;
  by_digest.tag.clear();
  by_digest.digest = digest::sha256(image.manifest);
  CHECK(by_digest.run(server.at("127.0.0.1")));
}

TEST_CASE("a manifest without end") {
  HostileServer server([&](const SeenRequest& request) {
    if (!request.target.contains("/manifests/")) return response("200 OK", "", "");
    return response("200 OK", "", std::string(5 << 20, ' '));
  });
  Trial trial;
  auto id = trial.run(server.at("127.0.0.1"));
  REQUIRE(!id);
  CHECK(id.error().kind == ErrorKind::kInvalid);
  CHECK(id.error().message.contains("is larger than 4194304 bytes"));
}

TEST_CASE("a layer that unpacks without end") {
  // zstd writes zeros far more densely than the ratio allows: 2 GiB would come of these few hundred kilobytes.
  std::string zeros(64 << 20, '\0'), bomb(ZSTD_compressBound(zeros.size()), '\0');
  bomb.resize(ZSTD_compress(bomb.data(), bomb.size(), zeros.data(), zeros.size(), 3));
  REQUIRE(unpacked_limit(static_cast<int64_t>(bomb.size())) < static_cast<int64_t>(zeros.size()));
  TestImage image({zeros}, {bomb});
  HostileServer server([&](const SeenRequest& request) { return image.answer(request); });
  Trial trial;
  auto id = trial.run(server.at("127.0.0.1"));
  REQUIRE(!id);
  CHECK(id.error().kind == ErrorKind::kExhausted);
  CHECK_MESSAGE(id.error().message.contains("unpacked is larger than"), id.error().message);
  CHECK(trial.is_empty());
}

TEST_CASE("redirects to files, downgrades and loops are refused") {
  TestImage image(1);
  std::string location;
  HostileServer server([&](const SeenRequest& request) {
    if (request.target.contains("/blobs/") || request.target.contains("/loop"))
      return response("307 Temporary Redirect", "Location: " + location + "\r\n", "");
    return image.answer(request);
  });
  for (auto [to, text] : {std::pair("file:///etc/passwd", "refusing redirect to 'file:///etc/passwd'"),
                          {"unix:///run/docker.sock", "refusing redirect"},
                          {"http://user:pw@127.0.0.1/", "refusing redirect"},
                          {"/v2/loop", "more than 5 redirects"}}) {
    location = to;
    Trial trial;
    auto id = trial.run(server.at("127.0.0.1"));
    REQUIRE_MESSAGE(!id, to);
    CHECK_MESSAGE(id.error().message.contains(text), id.error().message);
    CHECK(trial.is_empty());
  }
}

TEST_CASE("credentials stay with the registry") {
  TestImage image(1);
  HostileServer storage([&](const SeenRequest& request) { return image.answer(request); });
  HostileServer server([&](const SeenRequest& request) {
    if (request.authorization.empty())
      return response("401 Unauthorized", "WWW-Authenticate: Basic realm=\"r\"\r\n", "");
    if (request.authorization != "Basic dTpw")
      return response("401 Unauthorized", "", R"({"errors":[{"code":"UNAUTHORIZED","message":"no"}]})");
    if (request.target.contains("/blobs/"))
      return response("307 Temporary Redirect", "Location: http://" + storage.at("localhost") + request.target + "\r\n",
                      "");
    return image.answer(request);
  });
  Trial trial;
  trial.auth = R"({"username":"u","password":"p"})";
  auto id = trial.run(server.at("127.0.0.1"));
  REQUIRE_MESSAGE(id, (id ? "" : id.error().message));
  REQUIRE(storage.seen().size() >= 2);
  for (auto& request : storage.seen()) CHECK(request.authorization == "");

  Trial nobody;
  auto refused = nobody.run(server.at("127.0.0.1"));
  REQUIRE(!refused);
  CHECK(refused.error().message.ends_with("no basic auth credentials"));
  Trial stranger;
  stranger.auth = R"({"username":"u","password":"wrong"})";
  refused = stranger.run(server.at("127.0.0.1"));
  REQUIRE(!refused);
  CHECK(refused.error().kind == ErrorKind::kDenied);
  CHECK(refused.error().message == "unauthorized: no");
}

TEST_CASE("tokens: from a realm, the password never to a foreign plain-http one") {
  TestImage image(2);
  HostileServer* realm_server = nullptr;
  std::string realm_host;
  HostileServer realm([&](const SeenRequest& request) {
    CHECK(request.target.contains("scope=repository%3Aapp%3Apull"));
    return response("200 OK", "", R"({"token":"t0k3n","expires_in":300})");
  });
  realm_server = &realm;
  HostileServer server([&](const SeenRequest& request) {
    if (request.authorization != "Bearer t0k3n")
      return response(
          "401 Unauthorized",
          "WWW-Authenticate: Bearer realm=\"http://" + realm_server->at(realm_host) + "/token\",service=\"s\"\r\n", "");
    return image.answer(request);
  });
  for (auto [host, expected] : {std::pair("127.0.0.1", "Basic dTpw"), {"localhost", ""}}) {
    realm_host = host;
    size_t before = realm.seen().size();
    Trial trial;
    trial.auth = R"({"username":"u","password":"p"})";
    auto id = trial.run(server.at("127.0.0.1"));
    REQUIRE_MESSAGE(id, (id ? "" : id.error().message));
    REQUIRE(realm.seen().size() == before + 1);
    CHECK(realm.seen().back().authorization == expected);
  }
}

TEST_CASE("a body that breaks off is taken up where it broke") {
  TestImage image(1, 300000);
  const std::string& blob = image.blobs[0];
  int served = 0;
  bool ranges = true, gives_up = false;
  HostileServer server([&](const SeenRequest& request) {
    if (!request.target.contains(digest::sha256(blob))) return image.answer(request);
    size_t from = 0;
    if (ranges && !request.range.empty()) from = *parse_uint(split(split(request.range, '=')[1], '-')[0]);
    std::string rest = blob.substr(from);
    std::string head = from ? "206 Partial Content\r\nContent-Range: bytes " + std::to_string(from) + "-" +
                                  std::to_string(blob.size() - 1) + "/" + std::to_string(blob.size())
                            : "200 OK";
    std::string sent = served++ < 2 || gives_up ? rest.substr(0, gives_up ? 0 : rest.size() / 2) : rest;
    return "HTTP/1.1 " + head + "\r\nConnection: close\r\nContent-Length: " + std::to_string(rest.size()) + "\r\n\r\n" +
           sent;
  });
  for (bool with_ranges : {true, false}) {
    ranges = with_ranges;
    served = 0;
    Trial trial;
    auto id = trial.run(server.at("127.0.0.1"));
    REQUIRE_MESSAGE(id, (id ? "" : id.error().message));
    CHECK(trial.store.unpacked[digest::sha256(image.tars[0])] == image.tars[0]);
    CHECK(served == 3);
    int ranged = 0;
    for (auto& request : server.seen()) ranged += !request.range.empty();
    CHECK(ranged == (with_ranges ? 2 : 4));
  }
  gives_up = true;
  served = 0;
  Trial trial;
  auto id = trial.run(server.at("127.0.0.1"));
  REQUIRE(!id);
  CHECK(served == 3);
  CHECK(id.error().kind == ErrorKind::kUnavailable);
  CHECK(trial.store.images.empty());
}

namespace {
// Serves one blob only up to `limit` bytes, whatever range is asked for; counts what it sends of it.
struct Rationed {
  const TestImage& image;
  const std::string& blob;
  size_t limit;
  std::atomic<size_t> sent = 0, requests = 0;

  std::string answer(const SeenRequest& request) {
    if (!request.target.contains(digest::sha256(blob))) return image.answer(request);
    ++requests;
    size_t from = request.range.empty() ? 0 : *parse_uint(split(split(request.range, '=')[1], '-')[0]);
    std::string rest = blob.substr(from), given = blob.substr(from, limit > from ? limit - from : 0);
    std::string head = from ? "206 Partial Content\r\nContent-Range: bytes " + std::to_string(from) + "-" +
                                  std::to_string(blob.size() - 1) + "/" + std::to_string(blob.size())
                            : "200 OK";
    sent += given.size();
    return "HTTP/1.1 " + head + "\r\nConnection: close\r\nContent-Length: " + std::to_string(rest.size()) + "\r\n\r\n" +
           given;
  }
};
}  // namespace

TEST_CASE("what a failed pull has fetched is not fetched again") {
  TestImage image(2, 300000);
  const std::string& blob = image.blobs[1];
  Rationed rationed{image, blob, blob.size() / 2};
  HostileServer server([&](const SeenRequest& request) { return rationed.answer(request); });
  Trial trial;
  REQUIRE(!trial.run(server.at("127.0.0.1")));
  CHECK(trial.store.partial[digest::sha256(blob)] == blob.substr(0, blob.size() / 2));
  CHECK(trial.store.images.empty());

  rationed.limit = blob.size();
  Trial again(trial.store);
  auto id = again.run(server.at("127.0.0.1"));
  REQUIRE_MESSAGE(id, (id ? "" : id.error().message));
  CHECK(rationed.sent == blob.size());
  CHECK(again.store.unpacked[digest::sha256(image.tars[1])] == image.tars[1]);
  size_t others = 0;
  for (auto& request : server.seen()) others += request.target.contains(digest::sha256(image.blobs[0]));
  CHECK(others == 1);
  CHECK(again.lines.contains("Already exists"));
}

TEST_CASE("a partial blob that is not what it should be costs one more try, no more") {
  TestImage image(1, 300000);
  const std::string& blob = image.blobs[0];
  std::string digest = digest::sha256(blob);
  auto damaged = [&](size_t size) {
    std::string out = blob.substr(0, size);
    out[size / 2] ^= 1;
    return out;
  };
  for (const std::string& left :
       {damaged(blob.size() / 2), damaged(blob.size()), std::string(1000, '\0'), blob, blob.substr(0, 1)}) {
    Rationed rationed{image, blob, blob.size()};
    HostileServer server([&](const SeenRequest& request) { return rationed.answer(request); });
    Trial trial;
    trial.store.partial[digest] = left;
    auto id = trial.run(server.at("127.0.0.1"));
    REQUIRE_MESSAGE(id, (id ? "" : id.error().message));
    CHECK(trial.store.unpacked[digest::sha256(image.tars[0])] == image.tars[0]);
    CHECK(trial.store.blobs[digest] == blob);
    CHECK(!trial.store.partial.contains(digest));
    if (left == blob) CHECK(rationed.requests == 0);  // nothing is missing
  }
}

TEST_CASE("a blob that is not what its digest says is not kept") {
  TestImage image(1, 300000);
  std::string wrong = image.blobs[0];
  wrong[wrong.size() - 5] ^= 1;
  HostileServer server([&](const SeenRequest& request) {
    return request.target.contains(digest::sha256(image.blobs[0])) ? response("200 OK", "", wrong)
                                                                   : image.answer(request);
  });
  Trial trial;
  auto id = trial.run(server.at("127.0.0.1"));
  REQUIRE(!id);
  CHECK(trial.store.partial[digest::sha256(image.blobs[0])].empty());
  CHECK(trial.is_empty());
}

TEST_CASE("two pulls of one image share the downloads and both see them") {
  TestImage image(4, 200000);
  std::mutex mutex;
  std::condition_variable changed;
  bool both = false;
  HostileServer server([&](const SeenRequest& request) {
    // No blob before the second pull has asked for the manifest too.
    if (request.target.contains("/blobs/") && !request.target.contains(digest::sha256(image.config))) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return both; });
    }
    return image.answer(request);
  });
  MemoryStore store;
  Trial first(store), second(store);
  Result<std::string> outcomes[2];
  auto wait_for_line = [&](Trial& trial, const std::string& text) {
    for (int i = 0; i < 1000 && !trial.said(text); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    CHECK(trial.said(text));
  };
  std::thread one([&] { outcomes[0] = first.run(server.at("127.0.0.1")); });
  wait_for_line(first, "Waiting");
  std::thread two([&] { outcomes[1] = second.run(server.at("127.0.0.1")); });
  wait_for_line(second, "Downloading");  // of a flight that is not its own
  {
    std::lock_guard lock(mutex);
    both = true;
    changed.notify_all();
  }
  one.join();
  two.join();
  for (auto& outcome : outcomes) CHECK_MESSAGE(outcome, (outcome ? "" : outcome.error().message));
  for (auto* trial : {&first, &second}) {
    size_t complete = 0;
    for (size_t at = 0; (at = trial->lines.find("\"Pull complete\"", at)) != std::string::npos; ++at) ++complete;
    CHECK(complete == 4);
  }
  std::map<std::string, int> asked;
  for (auto& request : server.seen())
    if (request.target.contains("/blobs/")) ++asked[request.target];
  CHECK(asked.size() == 5);
  for (auto& [target, times] : asked) CHECK_MESSAGE(times == 1, target);
}

TEST_CASE("a pull takes over where the one it followed is cancelled") {
  TestImage image(1, 300000);
  const std::string& blob = image.blobs[0];
  Rationed rationed{image, blob, blob.size()};
  std::mutex mutex;
  std::condition_variable changed;
  bool go = false;
  HostileServer server([&](const SeenRequest& request) {
    if (request.target.contains(digest::sha256(blob))) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return go; });
    }
    return rationed.answer(request);
  });
  MemoryStore store;
  std::atomic<bool> cancel = false;
  Trial first(store), second(store);
  first.cancel = &cancel;
  Result<std::string> outcomes[2];
  std::thread one([&] { outcomes[0] = first.run(server.at("127.0.0.1")); });
  while (!first.said("Pulling fs layer")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::thread two([&] { outcomes[1] = second.run(server.at("127.0.0.1")); });
  while (!second.said("Downloading")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  cancel = true;
  {
    std::lock_guard lock(mutex);
    go = true;
    changed.notify_all();
  }
  one.join();
  two.join();
  // The first may have been faster than its cancel; the second has the image in any case.
  if (!outcomes[0]) CHECK(outcomes[0].error().kind == ErrorKind::kCancelled);
  REQUIRE_MESSAGE(outcomes[1], (outcomes[1] ? "" : outcomes[1].error().message));
  CHECK(store.unpacked[digest::sha256(image.tars[0])] == image.tars[0]);
}

TEST_CASE("an index, its platform, and one that does not fit") {
  TestImage image(1);
  std::string index = R"({"schemaVersion":2,"mediaType":")" + std::string(spec::kOciIndex) +
                      R"(","manifests":[{"mediaType":")" + std::string(spec::kDockerManifest) + R"(","digest":")" +
                      digest::sha256(image.manifest) + R"(","size":)" + std::to_string(image.manifest.size()) +
                      R"(,"platform":{"architecture":"amd64","os":"linux"}}]})";
  HostileServer server([&](const SeenRequest& request) {
    if (request.target.ends_with("/manifests/latest"))
      return response("200 OK", "Content-Type: " + std::string(spec::kOciIndex) + "\r\n", index);
    return image.answer(request);
  });
  Trial trial;
  trial.platform = "linux/amd64";
  REQUIRE(trial.run(server.at("127.0.0.1")));
  CHECK(trial.lines.contains("Digest: " + digest::sha256(index)));
  Trial other;
  other.platform = "linux/s390x";
  auto id = other.run(server.at("127.0.0.1"));
  REQUIRE(!id);
  CHECK(id.error().message == "no matching manifest for linux/s390x in the manifest list entries");
}

TEST_CASE("cancel in the middle of a layer") {
  TestImage image(1);
  std::atomic<bool> cancel = false;
  HostileServer server([&](const SeenRequest& request) {
    if (request.target.contains(digest::sha256(image.blobs[0]))) cancel = true;
    return image.answer(request);
  });
  Trial trial;
  trial.cancel = &cancel;
  auto id = trial.run(server.at("127.0.0.1"));
  if (!id) CHECK(id.error().kind == ErrorKind::kCancelled);
}

TEST_CASE("push: what is missing is sent, what is there is not, the digest is stable") {
  TestImage image(2);
  // As a docker-archive leaves it: the blobs are the tars themselves.
  Trial trial;
  std::string stored = R"({"schemaVersion":2,"mediaType":")" + std::string(spec::kDockerManifest) + R"(","config":)" +
                       TestImage::descriptor(spec::kDockerConfig, image.config) + R"(,"layers":[)" +
                       TestImage::descriptor(spec::kDockerLayerTar, image.tars[0]) + "," +
                       TestImage::descriptor(spec::kDockerLayerTar, image.tars[1]) + "]}";
  for (auto& text : {image.tars[0], image.tars[1], image.config, stored})
    trial.store.blobs[digest::sha256(text)] = text;
  std::mutex mutex;
  std::map<std::string, std::string> held, manifests;
  HostileServer server([&](const SeenRequest& request) {
    std::lock_guard lock(mutex);
    if (request.method == "HEAD")
      return held.contains(request.target.substr(request.target.rfind('/') + 1))
                 ? std::string("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n")
                 : response("404 Not Found", "", "");
    if (request.method == "POST")
      return response("202 Accepted", "Location: /v2/app/blobs/uploads/u1?_state=x\r\n", "");
    if (request.method == "PUT" && request.target.contains("/manifests/")) {
      manifests[request.target] = request.body;
      return response("201 Created", "Docker-Content-Digest: " + digest::sha256(request.body) + "\r\n", "");
    }
    if (request.method == "PUT") {
      CHECK(request.target ==
            "/v2/app/blobs/uploads/u1?_state=x&digest=sha256%3A" + digest::sha256(request.body).substr(7));
      held[digest::sha256(request.body)] = request.body;
      return response("201 Created", "", "");
    }
    return response("200 OK", "", "");
  });
  std::string name = server.at("127.0.0.1") + "/app:latest";
  REQUIRE(trial.store.commit_image(digest::sha256(stored), name, "x@y", ""));
  trial.config.tmp_dir = "/tmp";
  auto first = trial.run(server.at("127.0.0.1"), true);
  REQUIRE_MESSAGE(first, (first ? "" : first.error().message));
  CHECK(held.size() == 3);
  CHECK(trial.lines.starts_with("{\"status\":\"The push refers to repository [" + server.at("127.0.0.1") +
                                "/app]\"}\r\n"));
  CHECK(trial.lines.contains("\"status\":\"Pushed\""));
  CHECK(trial.lines.contains("latest: digest: " + *first + " size: "));
  CHECK(trial.lines.contains("\"aux\":{\"Tag\":\"latest\",\"Digest\":\"" + *first));
  CHECK(trial.store.images[0].repo_digests.back() == server.at("127.0.0.1") + "/app@" + *first);
  trial.lines.clear();
  auto again = trial.run(server.at("127.0.0.1"), true);
  REQUIRE(again);
  CHECK(*again == *first);
  CHECK(trial.lines.contains("Layer already exists"));
  CHECK(!trial.lines.contains("Pushed"));

  trial.tag = "nosuch";
  auto missing = trial.run(server.at("127.0.0.1"), true);
  REQUIRE(!missing);
  CHECK(missing.error().message == "An image does not exist locally with the tag: " + server.at("127.0.0.1") + "/app");
}
