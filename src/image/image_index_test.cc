// SPDX-License-Identifier: Apache-2.0
#include "image/image_index.h"

#include <doctest/doctest.h>

using namespace caisson;
using namespace caisson::image;

namespace {
const std::string kOne = "sha256:" + std::string(62, 'a') + "01", kTwo = "sha256:" + std::string(62, 'a') + "02",
                  kThree = "sha256:" + std::string(64, 'c');

ImageIndex sample() {
  ImageIndex index;
  for (const std::string& id : {kOne, kTwo, kThree}) {
    auto stored = std::make_shared<StoredImage>();
    stored->image.id = id;
    stored->image.manifest_digest = kThree;
    index.images[id] = stored;
  }
  index.names["docker.io/library/busybox:latest"] = kOne;
  index.names["docker.io/library/busybox:1.36"] = kOne;
  index.names["localhost:5000/busybox@" + kTwo] = kOne;
  index.names["docker.io/library/cccc:latest"] = kTwo;
  index.refresh({kOne, kTwo, kThree});
  return index;
}

std::string find(const ImageIndex& index, const std::string& text) {
  auto found = index.find(text);
  return found ? found->image->image.id : found.error().message;
}
}  // namespace

TEST_CASE("image index: by name, digest, id and unique prefix") {
  auto index = sample();
  CHECK(find(index, "busybox") == kOne);
  CHECK(find(index, "docker.io/library/busybox:1.36") == kOne);
  CHECK(find(index, "localhost:5000/busybox@" + kTwo) == kOne);
  CHECK(find(index, "localhost:5000/busybox:ignored@" + kTwo) == kOne);
  CHECK(find(index, kThree) == kThree);
  CHECK(find(index, kThree.substr(7)) == kThree);
  CHECK(find(index, "sha256:ccc") == kThree);
  CHECK(find(index, "ccc") == kThree);
  CHECK(find(index, "cccc") == kTwo);  // a name wins over an id
  CHECK(find(index, "aaa") == "No such image: aaa:latest");
  CHECK(find(index, "nosuch") == "No such image: nosuch:latest");
  CHECK(find(index, "busybox:nosuch") == "No such image: busybox:nosuch");
  CHECK(find(index, "docker.io/library/nosuch") == "No such image: nosuch:latest");
  CHECK(find(index, "sha256:" + std::string(64, 'f')) == "No such image: sha256:" + std::string(64, 'f'));
  CHECK(find(index, "No") == "invalid reference format: repository name (library/No) must be lowercase");
  CHECK(index.find("nosuch").error().kind == ErrorKind::kNotFound);
  CHECK(index.find("No").error().kind == ErrorKind::kInvalid);
}

TEST_CASE("image index: images know their names in familiar form") {
  auto index = sample();
  const Image& one = index.images[kOne]->image;
  CHECK(one.repo_tags == std::vector<std::string>{"busybox:1.36", "busybox:latest"});
  CHECK(one.repo_digests == std::vector<std::string>{"localhost:5000/busybox@" + kTwo});
  CHECK(index.images[kThree]->image.repo_tags.empty());
  CHECK(short_id(kOne) == "aaaaaaaaaaaa");
  std::string json = index.to_oci_index();
  CHECK(json.contains("\"org.opencontainers.image.ref.name\":\"busybox:1.36\""));
}
