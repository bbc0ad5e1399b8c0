// SPDX-License-Identifier: Apache-2.0
// The whole store on a real directory and database.
#include "image/image_store.h"

#include <sys/stat.h>
#include "base/text.h"

#include "image/test_support.h"
#include "spec/oci_image.h"
#include "wire/compress.h"
#include "wire/tar_reader.h"

using namespace caisson;
using namespace caisson::image;

TEST_CASE("SKIPPED notice: unpacking layers and mounting overlays need root" * doctest::skip(geteuid() == 0)) {
  MESSAGE("SKIPPED: layer, overlay and store tests, as they need root");
}

namespace {
std::string base_tar() { return TarBuilder().dir("bin").file("bin/busybox", std::string(5000, 'b')).finish(); }
std::string app_tar() { return TarBuilder().dir("app").file("app/main", std::string(300, 'a')).finish(); }
std::string web_tar() { return TarBuilder().dir("web").file("web/index", std::string(70, 'w')).finish(); }

struct Store {
  TempDir temp;
  std::unique_ptr<db::Database> database;
  std::unique_ptr<ImageStore> store;
  std::vector<std::string> lines;

  Store() { reopen(); }
  void reopen() {
    store.reset();
    database.reset();
    database = *db::Database::open(temp.path + "/state.db");
    auto opened = ImageStore::open(temp.path, *database);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    store = std::move(*opened);
  }
  Result<std::vector<std::string>> load(const std::string& archive) {
    StringSource source(archive);
    lines.clear();
    return store->load(source, [&](const std::string& line) { lines.push_back(line); });
  }
  std::string refusal(const std::string& archive) {
    auto result = load(archive);
    if (result) return "accepted";
    CHECK(result.error().kind == ErrorKind::kInvalid);
    return result.error().message;
  }
  size_t count(const std::string& directory) { return sys::list_dir(temp.path + "/" + directory)->size(); }
  size_t blobs() { return count("images/blobs/sha256"); }
  std::string id(const std::string& name) {
    auto found = store->find(name);
    return found ? found->id : found.error().message;
  }
  std::vector<std::string> remove(const std::string& name, bool force = false, const std::string& user = "",
                                  const std::string& running = "", bool prune_parents = true) {
    std::string used = id(name);
    auto removed = store->remove(name, {.force = force, .prune_parents = prune_parents}, [&](const std::string& asked) {
      return asked == used ? ImageUsers{running, user} : ImageUsers{};
    });
    std::vector<std::string> out;
    if (!removed) return {removed.error().message};
    for (const RemovedImage& entry : *removed)
      out.push_back(entry.untagged.empty() ? "Deleted: " + entry.deleted : "Untagged: " + entry.untagged);
    return out;
  }
};
using Lines = std::vector<std::string>;
}  // namespace

TEST_CASE("store: load, find, history, layers" NEEDS_ROOT) {
  Store s;
  auto names = s.load(docker_archive({{{base_tar(), app_tar()}, "app:v1", ""}}));
  REQUIRE_MESSAGE(names, (names ? "" : names.error().message));
  CHECK(*names == Lines{"app:v1"});
  CHECK(s.lines.back() == "{\"stream\":\"Loaded image: app:v1\\n\"}\n");
  CHECK(s.lines.front().starts_with("{\"status\":\"Loading layer\""));
  auto image = s.store->find("app:v1");
  REQUIRE(image);
  CHECK(image->id == digest::sha256(config_of({base_tar(), app_tar()})));
  CHECK(image->size == 5300);
  CHECK(image->created_ns == 1714521600'000'000'000);
  CHECK(image->config_json == config_of({base_tar(), app_tar()}));
  CHECK(image->layer_digests == Lines{digest::sha256(base_tar()), digest::sha256(app_tar())});
  CHECK(s.store->find("app").error().message == "No such image: app:latest");

  auto history = s.store->history("app:v1");
  REQUIRE(history);
  REQUIRE(history->size() == 3);
  CHECK((*history)[0].id == image->id);
  CHECK((*history)[0].tags == Lines{"app:v1"});
  CHECK((*history)[0].size == 0);
  CHECK((*history)[1].id == "<missing>");
  CHECK((*history)[1].size == 300);
  CHECK((*history)[2].size == 5000);
  CHECK((*history)[2].created_s == 1714521600);

  auto chain = s.store->layers(image->id);
  REQUIRE(chain);
  REQUIRE(chain->directories.size() == 2);
  CHECK(sys::path_exists(chain->directories[0] + "/bin/busybox"));
  CHECK(sys::path_exists(chain->directories[1] + "/app/main"));
  auto mount = mount_overlay(chain->directories, "", "", {.read_only = true});
  REQUIRE(mount);
  CHECK(sys::open_at(mount->get(), "bin/busybox", O_RDONLY));
  CHECK(sys::open_at(mount->get(), "app/main", O_RDONLY));

  // What was acknowledged is there after a restart; the blobs are a layout that says the same.
  s.reopen();
  CHECK(s.id("app:v1") == image->id);
  auto index = json::decode<spec::Index>(*sys::read_file(s.temp.path + "/images/index.json"));
  REQUIRE(index);
  REQUIRE(index->manifests.size() == 1);
  CHECK(index->manifests[0].annotations["org.opencontainers.image.ref.name"] == "app:v1");
  CHECK(s.store->has_blob(index->manifests[0].digest));
}

TEST_CASE("store: a shared base is one directory, and goes with its last image" NEEDS_ROOT) {
  Store s;
  REQUIRE(s.load(
      docker_archive({{{base_tar(), app_tar()}, "app:latest", ""}, {{base_tar(), web_tar()}, "web:latest", ""}})));
  CHECK(s.count("layers") == 3);
  Usage usage = s.store->usage();
  CHECK(usage.layers_size == 5370);
  REQUIRE(usage.images.size() == 2);
  for (const auto& image : usage.images) CHECK(image.shared_size == 5000);
  std::string app = s.id("app"), web = s.id("web");
  size_t before = s.blobs();

  CHECK(s.remove("app") ==
        Lines{"Untagged: app:latest", "Deleted: " + app,
              "Deleted: " + spec::chain_id({digest::sha256(base_tar()), digest::sha256(app_tar())}, 2)});
  CHECK(s.count("layers") == 2);
  CHECK(s.blobs() == before - 3);  // config, manifest and the layer of its own
  CHECK(s.store->usage().images[0].shared_size == 0);
  REQUIRE(s.store->layers(web));
  CHECK(s.remove(web.substr(7, 12)) ==
        Lines{"Untagged: web:latest", "Deleted: " + web,
              "Deleted: " + spec::chain_id({digest::sha256(base_tar()), digest::sha256(web_tar())}, 2),
              "Deleted: " + digest::sha256(base_tar())});
  CHECK(s.count("layers") == 0);
  CHECK(s.blobs() == 0);
  CHECK(s.count("tmp") == 0);
  CHECK(s.store->list().empty());
}

TEST_CASE("store: Docker's rules and words for removal" NEEDS_ROOT) {
  Store s;
  std::string user = std::string(64, 'e');
  REQUIRE(s.load(docker_archive({{{base_tar()}, "busybox:latest", ""}})));
  std::string id = s.id("busybox"), shown = id.substr(7, 12);
  CHECK(s.remove("nosuch") == Lines{"No such image: nosuch:latest"});
  CHECK(s.remove("busybox", false, user) == Lines{"conflict: unable to remove repository reference \"busybox\" (must "
                                                  "force) - container eeeeeeeeeeee is using its "
                                                  "referenced image " +
                                                  shown});
  REQUIRE(s.store->tag("busybox", "other", "v1"));
  CHECK(s.remove(id) == Lines{"conflict: unable to delete " + shown +
                              " (must be forced) - image is referenced in multiple repositories"});
  CHECK(s.remove("busybox", false, user) == Lines{"Untagged: busybox:latest"});
  CHECK(s.remove(shown, false, user) ==
        Lines{"conflict: unable to delete " + shown +
              " (must be forced) - image is being used by stopped container eeeeeeeeeeee"});
  CHECK(s.remove(id, true, "", user) == Lines{"conflict: unable to delete " + shown +
                                              " (cannot be forced) - image is being used by running container "
                                              "eeeeeeeeeeee"});
  CHECK(s.remove("other:v1", true, "", user) == Lines{"Untagged: other:v1"});
  CHECK(s.id(id) == id);
  CHECK(s.store->find(id)->repo_tags.empty());
  CHECK(s.remove(id) == Lines{"Deleted: " + id, "Deleted: " + digest::sha256(base_tar())});

  // The last tag of a repository takes the digests of that repository along.
  REQUIRE(s.load(docker_archive({{{base_tar()}, "localhost:5000/bb:1", ""}})));
  std::string digest_name = "localhost:5000/bb@" + digest::sha256("manifest");
  REQUIRE(s.store->add_repo_digest(id, digest_name));
  CHECK(s.id(digest_name) == id);
  CHECK(s.store->find(id)->repo_digests == Lines{digest_name});
  REQUIRE(s.store->tag(id, "localhost:5000/bb", "2"));
  CHECK(s.remove("localhost:5000/bb:1") == Lines{"Untagged: localhost:5000/bb:1"});
  CHECK(s.remove("localhost:5000/bb:2") == Lines{"Untagged: localhost:5000/bb:2", "Untagged: " + digest_name,
                                                 "Deleted: " + id, "Deleted: " + digest::sha256(base_tar())});
}

TEST_CASE("store: what is removed by force from under a stopped container is lost but for its layers" NEEDS_ROOT) {
  Store s;
  REQUIRE(s.load(docker_archive({{{base_tar()}, "busybox:latest", ""}})));
  std::string id = s.id("busybox");
  CHECK(s.remove("busybox", true, std::string(64, 'e')) == Lines{"Untagged: busybox:latest", "Deleted: " + id});
  CHECK(s.id(id) == "No such image: " + id);
  CHECK(s.store->list().empty());
  CHECK(s.blobs() == 0);
  auto chain = s.store->layers(id);
  REQUIRE(chain);
  CHECK(sys::path_exists(chain->directories[0]));
  chain->lease.reset();
  s.reopen();
  REQUIRE(s.store->layers(id));
  s.store->forget_unused([&](const std::string&) { return ImageUsers{"", "somebody"}; });
  CHECK(s.count("layers") == 1);
  s.store->forget_unused([&](const std::string&) { return ImageUsers{}; });
  CHECK(s.count("layers") == 0);
  CHECK(!s.store->layers(id));

  // Loaded again meanwhile it is an image like any other.
  REQUIRE(s.load(docker_archive({{{base_tar()}, "busybox:latest", ""}})));
  CHECK(s.remove(id, true, std::string(64, 'e')).size() == 2);
  REQUIRE(s.load(docker_archive({{{base_tar()}, "busybox:latest", ""}})));
  s.store->forget_unused([&](const std::string&) { return ImageUsers{}; });
  CHECK(s.id("busybox") == id);
  CHECK(s.count("layers") == 1);
}

TEST_CASE("store: an image with children stays, ancestors without names go with the last of them" NEEDS_ROOT) {
  Store s;
  REQUIRE(s.load(docker_archive({{{base_tar()}, "base:1", ""}})));
  REQUIRE(s.load(docker_archive({{{base_tar(), app_tar()}, "middle:1", ""}})));
  REQUIRE(s.load(docker_archive({{{base_tar(), app_tar(), web_tar()}, "top:1", ""}})));
  std::string base = s.id("base:1"), middle = s.id("middle:1"), top = s.id("top:1");
  auto adopt = [&](const std::string& name, const std::string& parent) {
    REQUIRE(s.store->commit_image(s.store->find(name + ":1")->manifest_digest, "", name + "@" + digest::sha256(name),
                                  parent));
  };
  adopt("middle", base);
  adopt("top", middle);
  s.reopen();
  CHECK(s.store->find("middle:1")->parent == base);
  CHECK(s.remove(middle, true) == Lines{"conflict: unable to delete " + middle.substr(7, 12) +
                                        " (cannot be forced) - image has dependent child images"});
  // Only the names go: who asked by name is not told that the image itself stays.
  CHECK(s.remove("middle:1") == Lines{"Untagged: middle:1", "Untagged: middle@" + digest::sha256("middle")});
  CHECK(s.id(middle) == middle);
  std::string layer = digest::sha256(base_tar());
  auto chain = [&](size_t count) {
    return "Deleted: " + spec::chain_id({layer, digest::sha256(app_tar()), digest::sha256(web_tar())}, count);
  };
  SUBCASE("pruned") {
    CHECK(s.remove("top:1") == Lines{"Untagged: top:1", "Untagged: top@" + digest::sha256("top"), "Deleted: " + top,
                                     chain(3), "Deleted: " + middle, chain(2)});
    CHECK(s.id("base:1") == base);
  }
  SUBCASE("noprune") {
    CHECK(s.remove("top:1", false, "", "", false).back() == chain(3));
    CHECK(s.id(middle) == middle);
  }
}

TEST_CASE("store: layers in use survive the image's removal until the lease goes" NEEDS_ROOT) {
  Store s;
  REQUIRE(s.load(docker_archive({{{base_tar()}, "busybox:latest", ""}})));
  auto chain = s.store->layers(s.id("busybox"));
  REQUIRE(chain);
  REQUIRE(s.store->remove("busybox", {.force = true}, nullptr));
  CHECK(sys::path_exists(chain->directories[0]));
  chain->lease.reset();
  CHECK(!sys::path_exists(chain->directories[0]));
  CHECK(s.count("tmp") == 0);
}

TEST_CASE("store: tags move, dangling images stay, invalid names are refused" NEEDS_ROOT) {
  Store s;
  REQUIRE(s.load(docker_archive({{{base_tar()}, "a:latest", ""}})));
  std::string old = s.id("a");
  REQUIRE(s.load(docker_archive({{{base_tar()}, "a:latest", "other config"}})));
  CHECK(s.id("a") != old);
  CHECK(s.id(old) == old);
  CHECK(s.store->find(old)->repo_tags.empty());
  CHECK(s.lines[0] == "{\"stream\":\"The image a:latest already exists, renaming the old one with ID " + old +
                          " to empty string\\n\"}\n");
  CHECK(s.store->list().size() == 2);
  CHECK(s.count("layers") == 1);
  CHECK(s.store->tag("a", "Bad", "x").error().message ==
        "invalid reference format: repository name (library/Bad) must be lowercase");
  CHECK(s.store->tag("a", "good", "-bad").error().kind == ErrorKind::kInvalid);
  CHECK(s.store->tag("nosuch", "good", "").error().kind == ErrorKind::kNotFound);
  REQUIRE(s.store->tag(old.substr(7, 10), "localhost:5000/new/name", ""));
  CHECK(s.id("localhost:5000/new/name") == old);
  auto untagged = s.load(docker_archive({{{app_tar()}, "", ""}}));
  REQUIRE(untagged);
  CHECK(s.lines.back() == "{\"stream\":\"Loaded image ID: " + digest::sha256(config_of({app_tar()})) + "\\n\"}\n");
}

TEST_CASE("store: what save writes load reads, with the same ids and bytes" NEEDS_ROOT) {
  Store a, b;
  REQUIRE(
      a.load(docker_archive({{{base_tar(), app_tar()}, "app:v1", ""}, {{base_tar(), web_tar()}, "web:latest", ""}})));
  REQUIRE(a.store->tag("app:v1", "app", "v2"));
  StringSink first, second;
  REQUIRE(a.store->save({"app", "web"}, first));
  REQUIRE(a.store->save({"app:v1", "app:v2", "web:latest"}, second));
  CHECK(first.text == second.text);
  auto names = b.load(first.text);
  REQUIRE(names);
  CHECK(names->size() == 3);
  CHECK(b.id("app:v2") == a.id("app:v1"));
  CHECK(b.store->find("app:v2")->manifest_digest == a.store->find("app:v1")->manifest_digest);
  CHECK(b.store->find("app:v2")->repo_tags == Lines{"app:v1", "app:v2"});
  CHECK(a.store->save({"nosuch"}, first).error().message == "No such image: nosuch:latest");

  // Compressed as a whole.
  StringSink packed;
  compress::GzipSink gzip(packed);
  REQUIRE(gzip.write(first.text));
  REQUIRE(gzip.finish());
  Store c;
  REQUIRE(c.load(packed.text));
  CHECK(c.id("web") == a.id("web"));
}

TEST_CASE("store: an OCI layout with compressed layers and a nested index" NEEDS_ROOT) {
  StringSink packed;
  compress::GzipSink gzip(packed);
  REQUIRE(gzip.write(base_tar()));
  REQUIRE(gzip.finish());
  auto descriptor = [](std::string_view type, const std::string& data) {
    return spec::Descriptor{
        .media_type = std::string(type), .digest = digest::sha256(data), .size = static_cast<int64_t>(data.size())};
  };
  auto path = [](const std::string& data) {
    return "blobs/sha256/" + std::string(digest::hex_of(digest::sha256(data)));
  };
  std::string config = config_of({base_tar()});
  spec::Manifest manifest{.media_type = std::string(spec::kOciManifest),
                          .config = descriptor(spec::kOciConfig, config)};
  manifest.layers = {descriptor(spec::kOciLayerGzip, packed.text)};
  std::string manifest_json = json::encode(manifest);
  spec::Index nested{.media_type = std::string(spec::kOciIndex)};
  auto ours = descriptor(spec::kOciManifest, manifest_json),
       other = descriptor(spec::kOciManifest, "not in the archive");
#if defined(__x86_64__)
  ours.platform = spec::Platform{.architecture = "amd64", .os = "linux"};
#else
  ours.platform = spec::Platform{.architecture = "arm64", .os = "linux"};
#endif
  other.platform = spec::Platform{.architecture = "s390x", .os = "linux"};
  nested.manifests = {other, ours};
  std::string nested_json = json::encode(nested);
  spec::Index top;
  auto link = descriptor(spec::kOciIndex, nested_json);
  link.annotations = {{"io.containerd.image.name", "localhost:5000/bb:v3"},
                      {"org.opencontainers.image.ref.name", "v3"}};
  top.manifests = {link};
  // The order of the members does not matter.
  std::string archive = TarBuilder()
                            .file(path(packed.text), packed.text)
                            .file(path(nested_json), nested_json)
                            .file("index.json", json::encode(top))
                            .file(path(manifest_json), manifest_json)
                            .file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}")
                            .file(path(config), config)
                            .finish();
  Store s;
  auto names = s.load(archive);
  REQUIRE_MESSAGE(names, (names ? "" : names.error().message));
  CHECK(*names == Lines{"localhost:5000/bb:v3"});
  CHECK(s.store->find("localhost:5000/bb:v3")->manifest_digest == digest::sha256(manifest_json));
  CHECK(s.store->find("localhost:5000/bb:v3")->layer_digests == Lines{digest::sha256(packed.text)});
  CHECK(s.store->has_layer(digest::sha256(base_tar())));
}

TEST_CASE("store: old archives link equal layers to each other" NEEDS_ROOT) {
  std::string config = config_of({base_tar(), base_tar()});
  std::string archive =
      TarBuilder()
          .dir("one")
          .file("one/layer.tar", base_tar())
          .symlink("two/layer.tar", "../one/layer.tar")
          .file("c.json", config)
          .file("manifest.json",
                R"([{"Config":"c.json","RepoTags":["twice:1"],"Layers":["one/layer.tar","two/layer.tar"]}])")
          .finish();
  Store s;
  auto names = s.load(archive);
  REQUIRE_MESSAGE(names, (names ? "" : names.error().message));
  CHECK(s.count("layers") == 1);
  CHECK(s.store->layers("twice:1")->directories.size() == 2);
}

TEST_CASE("store: an image without layers" NEEDS_ROOT) {
  Store s;
  REQUIRE(s.load(docker_archive({{{}, "scratch-like:1", ""}})));
  auto chain = s.store->layers("scratch-like:1");
  REQUIRE(chain);
  REQUIRE(chain->directories.size() == 1);
  CHECK(sys::list_dir(chain->directories[0])->empty());
  CHECK(s.store->find("scratch-like:1")->size == 0);
  CHECK(s.remove("scratch-like:1").size() == 2);
}

TEST_CASE("store: hostile archives are refused in one sentence and leave nothing" NEEDS_ROOT) {
  Store s;
  std::string good = docker_archive({{{base_tar()}, "a:latest", ""}}), config = config_of({base_tar()});
  auto with = [&](const std::string& manifest, const std::string& config_text, const std::string& layer) {
    return TarBuilder().file("c.json", config_text).file("l.tar", layer).file("manifest.json", manifest).finish();
  };
  std::string manifest = R"([{"Config":"c.json","RepoTags":["a:b"],"Layers":["l.tar"]}])";
  CHECK(s.refusal("no tar at all" + std::string(600, 'x')).starts_with("image archive: invalid tar archive: "));
  CHECK(s.refusal("") == "image archive: it has neither 'manifest.json' nor 'index.json'");
  CHECK(s.refusal(good.substr(0, 3000)).starts_with("image archive: invalid tar archive: it ends in the middle"));
  CHECK(s.refusal(TarBuilder().file("x", "").finish()) ==
        "image archive: it has neither 'manifest.json' nor 'index.json'");
  CHECK(s.refusal(with("{", config, base_tar())).starts_with("image archive: 'manifest.json': "));
  CHECK(s.refusal(with("[]", config, base_tar())) == "image archive: it holds no image");
  CHECK(s.refusal(with(manifest, "no json", base_tar())).starts_with("image archive: 'c.json': "));
  CHECK(s.refusal(with(manifest, "{}", base_tar())) == "image archive: 1 layers are listed, but the config has 0");
  CHECK(s.refusal(with(manifest, config, app_tar())) ==
        "image archive: layer 1 has the wrong content: its digest is '" + digest::sha256(app_tar()) + "' and not '" +
            digest::sha256(base_tar()) + "'");
  CHECK(s.refusal(with(R"([{"Config":"c.json","RepoTags":["a:b"],"Layers":["nosuch"]}])", config, base_tar())) ==
        "image archive: layer 'nosuch' is missing");
  CHECK(s.refusal(with(R"([{"Config":"../../etc/passwd","RepoTags":["a:b"],"Layers":["l.tar"]}])", config,
                       base_tar())) == "image archive: '../../etc/passwd' is missing");
  CHECK(s.refusal(with(R"([{"Config":"c.json","RepoTags":["A:b"],"Layers":["l.tar"]}])", config, base_tar())) ==
        "image archive: invalid tag 'A:b'");
  std::string no_tar(2000, 'n');
  CHECK(s.refusal(with(manifest, config_of({no_tar}), no_tar))
            .starts_with("image archive: layer 1: invalid tar archive"));
  std::string breaking_out = TarBuilder().file("../../../escaped", "x").finish();
  CHECK(s.refusal(docker_archive({{{base_tar(), breaking_out}, "a:b", ""}})) ==
        "image archive: layer 2: layer: path '../../../escaped' leads out of the root");
  CHECK(
      s.refusal(
          TarBuilder()
              .file("index.json",
                    R"({"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"../../x"}]})")
              .finish()) == "image archive: '' is missing");
  CHECK(s.refusal("\x1f\x8b\x08 and no gzip").starts_with("image archive: gzip data"));
  CHECK(s.blobs() == 0);
  CHECK(s.count("layers") == 0);
  CHECK(s.count("tmp") == 0);
  CHECK(s.store->list().empty());
  CHECK(s.load(good));
}

TEST_CASE("store: piecewise, as pull does it; digests are checked, a lease protects" NEEDS_ROOT) {
  Store s;
  auto lease = s.store->lease();
  std::string config = config_of({base_tar(), app_tar()}), id = digest::sha256(config);
  auto add_blob = [&](const std::string& data) {
    StringSource source(data);
    return s.store->add_blob(digest::sha256(data), source);
  };
  StringSource wrong("other bytes");
  auto refused = s.store->add_blob(digest::sha256("bytes"), wrong);
  REQUIRE(!refused);
  CHECK(refused.error().kind == ErrorKind::kCorrupt);
  spec::Manifest manifest{.media_type = std::string(spec::kOciManifest), .config = {.digest = id}};
  for (const std::string& layer : {base_tar(), app_tar()})
    manifest.layers.push_back({.digest = digest::sha256(layer), .size = static_cast<int64_t>(layer.size())});
  std::string manifest_json = json::encode(manifest);
  REQUIRE(add_blob(config));
  REQUIRE(add_blob(manifest_json));
  CHECK(!s.store->commit_image(digest::sha256(manifest_json), "x", ""));  // its layers are not there

  // In any order, unless a layer leans on one that is not there yet.
  std::string base_text = base_tar(), app_text = app_tar(), web_text = web_tar();
  std::string leaning_text = TarBuilder().file("bin/added", "x").finish();
  StringSource base(base_text), app(app_text), bad(web_text), leaning(leaning_text);
  CHECK(!s.store->has_layer(digest::sha256(app_text)));
  CHECK(s.store->add_layer(digest::sha256("x"), {}, bad).error().kind == ErrorKind::kCorrupt);
  CHECK(s.store->add_layer(digest::sha256(leaning_text), {digest::sha256(base_text)}, leaning).error().kind ==
        ErrorKind::kConflict);
  REQUIRE(s.store->add_layer(digest::sha256(app_text), {digest::sha256(base_text)}, app));
  CHECK(s.store->has_layer(digest::sha256(app_text)));
  REQUIRE(s.store->add_layer(digest::sha256(base_text), {}, base));
  CHECK(s.remove("nosuch").size() == 1);  // a removal meanwhile takes nothing of it
  auto committed = s.store->commit_image(digest::sha256(manifest_json), "localhost:5000/x:1",
                                         "localhost:5000/x@" + digest::sha256(manifest_json));
  REQUIRE(committed);
  CHECK(*committed == id);
  lease.reset();
  CHECK(s.store->has_blob(id));
  CHECK(s.count("layers") == 2);
  auto fd = s.store->open_blob(id);
  REQUIRE(fd);
  CHECK(*sys::read_fd(fd->get()) == config);

  lease = s.store->lease();
  REQUIRE(add_blob("nobody's"));
  StringSource web(web_text);
  REQUIRE(s.store->add_layer(digest::sha256(web_tar()), {}, web));
  lease.reset();
  CHECK(!s.store->has_blob(digest::sha256("nobody's")));
  CHECK(s.count("layers") == 2);
}

TEST_CASE("store: a layer that needs its parents is kept per chain" NEEDS_ROOT) {
  std::string partial = TarBuilder().file("bin/added", "x").finish();  // no entry for bin
  std::string other_base = TarBuilder().dir("bin", 0700).file("bin/busybox", "other").finish();
  Store s;
  REQUIRE(s.load(docker_archive(
      {{{base_tar(), partial}, "one:1", ""}, {{other_base, partial}, "two:1", ""}, {{partial}, "three:1", ""}})));
  CHECK(s.count("layers") == 5);
  auto mode = [&](const std::string& name) {
    struct stat st {};
    int code = ::stat((s.store->layers(name)->directories.back() + "/bin").c_str(), &st);
    REQUIRE(code == 0);
    return st.st_mode & 07777;
  };
  CHECK(mode("one:1") == 0755);
  CHECK(mode("two:1") == 0700);
  s.reopen();
  CHECK(mode("two:1") == 0700);
  CHECK(!s.store->has_layer(digest::sha256(partial)));
}

TEST_CASE("store: what a crash left is removed by open, what was complete stays" NEEDS_ROOT) {
  Store s;
  REQUIRE(s.load(docker_archive({{{base_tar()}, "a:latest", ""}})));
  REQUIRE(sys::make_dirs(s.temp.path + "/tmp/image-layer-0123/deep"));
  REQUIRE(sys::write_file(s.temp.path + "/tmp/image-blob-0123", "half"));
  REQUIRE(sys::write_file(s.temp.path + "/tmp/of-another-module", "x"));
  REQUIRE(sys::make_dirs(s.temp.path + "/layers/" + std::string(64, '1')));  // renamed, but no row yet
  REQUIRE(sys::write_file(s.temp.path + "/images/blobs/sha256/" + std::string(64, '2'), "nobody's"));
  s.reopen();
  CHECK(s.count("tmp") == 1);
  CHECK(s.count("layers") == 1);
  CHECK(s.blobs() == 3);
  CHECK(s.store->layers("a"));

  // A layer lost behind our back is unpacked again; without its blob it takes its image along, nothing else.
  REQUIRE(sys::remove_tree(s.store->layers("a")->directories[0]));
  s.reopen();
  REQUIRE(s.store->list().size() == 1);
  CHECK(sys::path_exists(s.store->layers("a")->directories[0] + "/bin/busybox"));
  REQUIRE(sys::remove_tree(s.store->layers("a")->directories[0]));
  REQUIRE(sys::remove_file(s.temp.path + "/images/blobs/sha256/" +
                           std::string(digest::hex_of(digest::sha256(base_tar())))));
  s.reopen();
  CHECK(s.store->list().empty());
  CHECK(s.load(docker_archive({{{base_tar()}, "a:latest", ""}})));
}
