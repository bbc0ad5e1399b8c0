// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <linux/mount.h>

#include <algorithm>

#include "runtime/plan_builder.h"
#include "runtime/rootfs_builder.h"

namespace caisson::runtime {

static Result<Mount> built(std::vector<std::string> options, const char* type = "tmpfs", const char* source = "/s") {
  return build_mount({"/x", type, source, std::move(options), {}, {}}, "/bundle");
}

static std::string error_of(const spec::OciMount& mount) {
  auto out = build_mount(mount, "/bundle");
  return out ? "" : out.error().message;
}

TEST_CASE("a later word takes an earlier one back") {
  auto mount = built({"ro", "rw", "nosuid", "suid", "noexec", "exec", "nodev", "dev"});
  REQUIRE(mount);
  CHECK(mount->set_attributes == 0);
  CHECK(mount->clear_attributes == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV));
  CHECK(built({"noatime", "strictatime"})->set_attributes == MOUNT_ATTR_STRICTATIME);
  CHECK(built({"sync", "dirsync", "async"})->data == "dirsync");
  CHECK(built({"lazytime", "size=1m", "nolazytime"})->data == "size=1m");
}

TEST_CASE("words with an r in front act below, others of that shape are the file system's") {
  auto mount = built({"rro", "rnoexec", "rnosymfollow"}, "bind");
  REQUIRE(mount);
  CHECK(mount->set_attributes == 0);
  CHECK(mount->set_attributes_recursive == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW));
  CHECK(built({"rsize=4096", "rsync", "rootmode=40000"})->data == "rsize=4096,rsync,rootmode=40000");
}

TEST_CASE("propagation: the last word counts, slave and then shared are both") {
  CHECK(built({"rprivate", "rshared"}, "bind")->propagation == MS_SHARED);
  auto both = built({"slave", "rshared"}, "bind");
  CHECK(both->propagation == (MS_SLAVE | MS_SHARED));
  CHECK(both->propagation_recursive);
  CHECK(built({"unbindable"}, "bind")->propagation == MS_UNBINDABLE);
}

TEST_CASE("id-mapped mounts are binds with both kinds of ids") {
  CHECK(built({"bind", "idmap"})->id_mapped);
  CHECK_FALSE(built({"bind", "idmap"})->id_mapped_recursive);
  CHECK(built({"rbind", "ridmap"})->id_mapped_recursive);
  CHECK(error_of({"/x", "tmpfs", "t", {"idmap"}, {}, {}}) ==
        "mount at '/x': id-mapped mounts are only supported for bind-mounts");
  CHECK(error_of({"/x", "bind", "/s", {}, {{0, 1000, 1}}, {}}) ==
        "mount at '/x': id-mapped mounts must have both uid and gid mappings specified");
  auto implied = build_mount({"/x", "bind", "/s", {}, {{0, 1000, 1}}, {{0, 2000, 1}}}, "");
  REQUIRE(implied);
  CHECK(implied->id_mapped);
  CHECK(implied->gid_mappings == std::vector<IdMapping>{{0, 2000, 1}});
}

TEST_CASE("types: none with bind, none without, copying up, remounts") {
  CHECK(built({"bind"}, "none")->kind == Mount::Kind::kBind);
  CHECK(built({"bind"}, "")->type == "bind");
  CHECK(error_of({"/x", "none", "/s", {}, {}, {}}) == "mount at '/x' has no type");
  CHECK(built({"tmpcopyup"})->copy_up);
  CHECK_FALSE(built({"tmpcopyup"}, "proc")->copy_up);
  auto remount = built({"remount", "bind", "ro"}, "none", "");
  REQUIRE(remount);
  CHECK(remount->type == "remount");
  CHECK(remount->kind == Mount::Kind::kBind);
  CHECK(built({"remount", "size=2m"})->data == "size=2m");
  CHECK(error_of({"/x", "tmpfs", std::string("a\0b", 3), {}, {}, {}}) ==
        "mount at '/x': its type or source holds a zero byte");
}

TEST_CASE("the known words are sorted, without repeats, and understood") {
  auto words = known_mount_options();
  CHECK(std::is_sorted(words.begin(), words.end()));
  CHECK(std::adjacent_find(words.begin(), words.end()) == words.end());
  for (const char* word :
       {"rbind", "rro", "idmap", "ridmap", "tmpcopyup", "rstrictatime", "nosymfollow", "runbindable", "remount"})
    CHECK(std::binary_search(words.begin(), words.end(), word));
  for (const auto& word : words) {
    if (word == "sync" || word == "dirsync" || word == "lazytime" || word == "mand") continue;
    auto mount = built({"bind", word}, "tmpfs");
    REQUIRE(mount);
    CHECK_MESSAGE(mount->data == "", word);
  }
}

TEST_CASE("the root's propagation and devices of a spec") {
  Plan plan;
  spec::OciLinux in;
  in.rootfs_propagation = "rslave";
  in.devices = {{"/dev/pipe", "p", 5, 6, {}, {}, {}}};
  REQUIRE(add_linux_root(in, plan));
  CHECK(plan.root_propagation == (MS_SLAVE | MS_REC));
  CHECK(plan.devices[0].major == 0);
  in.rootfs_propagation = "rsomething";
  CHECK(add_linux_root(in, plan).error().message == "unknown rootfsPropagation 'rsomething'");
  in.rootfs_propagation = "";
  in.devices = {{"/dev/x", "c", 4096, 0, {}, {}, {}}};
  CHECK(add_linux_root(in, plan).error().message == "device '/dev/x' has an invalid number");
}

TEST_CASE("a mount label goes to file systems that can carry one") {
  spec::RuntimeSpec spec;
  spec.oci_version = "1.0.2";
  spec.linux_part.emplace().mount_label = "system_u:object_r:x:s0:c1,c2";
  spec.mounts = {
      {"/t", "tmpfs", "t", {"size=1m"}, {}, {}}, {"/proc", "proc", "p", {}, {}, {}}, {"/b", "bind", "/s", {}, {}, {}}};
  Plan plan;
  REQUIRE(add_mounts(spec, {}, plan));
  CHECK(plan.mounts[0].data == "size=1m,context=\"system_u:object_r:x:s0:c1,c2\"");
  CHECK(plan.mounts[1].data == "");
  CHECK(plan.mounts[2].data == "");
}

}  // namespace caisson::runtime
