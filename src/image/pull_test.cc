// SPDX-License-Identifier: Apache-2.0
// Pull and push against a registry that misbehaves: the cases no honest one can show. The worker runs on a thread of
// this process, the registry on another, the store is in memory.
#include "image/pull_testbed.h"

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
