// SPDX-License-Identifier: Apache-2.0
// For this folder's tests: temporary roots, and layers and archives built in memory.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "image/image_store.h"
#include "sys/files.h"
#include "wire/digest.h"
#include "wire/tar_writer.h"

namespace caisson::image {

// Unpacking makes owners and devices, so these tests need root; image_store_test.cc says so when skipped.
#define NEEDS_ROOT *doctest::skip(geteuid() != 0)

struct TempDir {
  TempDir() { REQUIRE(mkdtemp(path.data())); }
  ~TempDir() { (void)sys::remove_tree(path); }
  // In memory where possible: the store waits for the disk at every step.
  std::string path =
      std::string(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/var/tmp") + "/caisson-image-test-XXXXXX";
};

struct StringSink : ByteSink {
  Result<> write(std::string_view data) override {
    text += data;
    return {};
  }
  std::string text;
};

class TarBuilder {
 public:
  TarBuilder& add(tar::Entry entry, std::string_view data = "") {
    REQUIRE(writer_.add(std::move(entry), data));
    return *this;
  }
  TarBuilder& file(const std::string& path, std::string_view data) {
    return add({.path = path, .mtime_ns = 1'000'000'000}, data);
  }
  TarBuilder& dir(const std::string& path, uint32_t mode = 0755) {
    return add({.type = tar::EntryType::kDirectory, .path = path, .mode = mode, .mtime_ns = 1'000'000'000});
  }
  TarBuilder& symlink(const std::string& path, const std::string& target) {
    return add({.type = tar::EntryType::kSymlink, .path = path, .link = target});
  }
  TarBuilder& hard_link(const std::string& path, const std::string& target) {
    return add({.type = tar::EntryType::kHardLink, .path = path, .link = target});
  }
  std::string finish() {
    REQUIRE(writer_.finish());
    return sink_.text;
  }

 private:
  StringSink sink_;
  tar::Writer writer_{sink_};
};

inline std::string config_of(const std::vector<std::string>& layers, const std::string& salt = "") {
  std::string ids, history;
  for (const std::string& layer : layers) {
    ids += (ids.empty() ? "\"" : ",\"") + digest::sha256(layer) + "\"";
    history += "{\"created\":\"2024-05-01T00:00:00Z\",\"created_by\":\"ADD " + std::to_string(layer.size()) + "\"},";
  }
  return R"({"architecture":"amd64","os":"linux","created":"2024-05-01T00:00:00Z","config":{"Cmd":["sh"],"Labels":{"salt":")" +
         salt + R"("}},"rootfs":{"type":"layers","diff_ids":[)" + ids + R"(]},"history":[)" + history +
         R"({"created_by":"CMD sh","empty_layer":true}]})";
}

struct ArchivedImage {
  std::vector<std::string> layers;  // tars, base first
  std::string tag, salt;
};

// A docker-archive as Docker wrote it before version 25.
inline std::string docker_archive(const std::vector<ArchivedImage>& images) {
  TarBuilder tar;
  std::string manifest;
  int number = 0;
  for (const ArchivedImage& image : images) {
    std::string config = config_of(image.layers, image.salt), paths;
    std::string name(digest::hex_of(digest::sha256(config)));
    tar.file(name + ".json", config);
    for (const std::string& layer : image.layers) {
      std::string path = "layer" + std::to_string(number++) + "/layer.tar";
      tar.file(path, layer);
      paths += (paths.empty() ? "\"" : ",\"") + path + "\"";
    }
    manifest += (manifest.empty() ? "" : ",") + ("{\"Config\":\"" + name) +
                ".json\",\"RepoTags\":" + (image.tag.empty() ? "null" : "[\"" + image.tag + "\"]") + ",\"Layers\":[" +
                paths + "]}";
  }
  tar.file("manifest.json", "[" + manifest + "]");
  return tar.finish();
}

}  // namespace caisson::image
