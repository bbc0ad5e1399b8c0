// SPDX-License-Identifier: Apache-2.0
// `checkpoint`: a running container as files.
#include <sys/stat.h>
#include <unistd.h>

#include <climits>

#include "base/text.h"
#include "sys/files.h"

#include "commands.h"
#include "criu.h"
#include "setup.h"

namespace caisson::oci {

namespace {

using enum Flag::Kind;

constexpr Flag kFlags[] = {
    {"image-path", 0, kValue, "directory for the image files (default: \"checkpoint\")"},
    {"work-path", 0, kValue, "directory for work files and logs (default: that of the images)"},
    {"parent-path", 0, kValue, "images of an earlier --pre-dump, relative to --image-path"},
    {"leave-running", 0, kSwitch, "leave the process running after checkpointing"},
    {"tcp-established", 0, kSwitch, "allow open tcp connections"},
    {"tcp-skip-in-flight", 0, kSwitch, "skip in-flight tcp connections"},
    {"ext-unix-sk", 0, kSwitch, "allow external unix sockets"},
    {"shell-job", 0, kSwitch, "allow shell jobs"},
    {"lazy-pages", 0, kSwitch, "use userfaultfd to lazily restore memory pages"},
    {"status-fd", 0, kValue, "criu writes \\0 to this descriptor once lazy-pages is ready"},
    {"page-server", 0, kValue, "ADDRESS:PORT of the page server"},
    {"file-locks", 0, kSwitch, "handle file locks"},
    {"pre-dump", 0, kSwitch, "dump the memory only, leave the container running"},
    {"manage-cgroups-mode", 0, kValue, "'soft' (default), 'full', 'strict' or 'ignore'"},
    {"empty-ns", 0, kList, "create a namespace, but don't restore its properties: 'network'"},
    {"auto-dedup", 0, kSwitch, "enable auto deduplication of memory images"},
    {"link-remap", 0, kSwitch, "link unlinked files back when possible"},
};
constexpr Usage kUsage{"checkpoint",
                       "<container-id>",
                       "checkpoint a running container",
                       "The container is deleted afterwards, unless it is left running. criu does the work.",
                       kFlags,
                       1,
                       1};

Result<> add_page_server(const Parsed& flags, std::vector<std::string>& args) {
  const std::string* text = flags.find("page-server");
  if (!text) return {};
  size_t colon = text->rfind(':');
  auto port = colon == std::string::npos ? std::nullopt : parse_uint(std::string_view(*text).substr(colon + 1));
  if (!port || *port == 0 || *port > 65535 || colon == 0)
    return fail(ErrorKind::kInvalid, "Use --page-server ADDRESS:PORT to specify page server, not %s",
                quoted(*text).c_str());
  args.insert(args.end(), {"--page-server", "--address", text->substr(0, colon), "--port", std::to_string(*port)});
  return {};
}

Result<> add_status_fd(const Parsed& flags, CriuJob& job) {
  const std::string* text = flags.find("status-fd");
  if (!text || *text == "-1") return {};
  auto fd = parse_uint(*text);
  if (!fd || *fd > INT_MAX) return fail(ErrorKind::kInvalid, "invalid value %s for status-fd", quoted(*text).c_str());
  job.args.insert(job.args.end(), {"--status-fd", std::to_string(*fd)});
  job.fds.emplace_back(static_cast<int>(*fd), static_cast<int>(*fd));
  return {};
}

// Only mount points that are there: of masked paths none is made where the file does not exist, and for
// directories there is a file system instead.
bool is_file_inside(int root, const std::string& path) {
  auto fd = sys::open_in_root(root, path, O_PATH);
  struct stat st;
  return fd && fstat(fd->get(), &st) == 0 && !S_ISDIR(st.st_mode);
}

Result<> add_external(const Record& record, std::vector<std::string>& args) {
  auto spec = TRY(spec::parse_runtime_spec(TRY(sys::read_file(record.bundle + "/config.json"))));
  auto root = TRY(sys::open_file(format("/proc/%ld/root", static_cast<long>(record.pid)), O_PATH | O_DIRECTORY));
  for (const auto& [target, source] : external_mounts(spec, record.bundle, record.cgroup))
    if (source != "/dev/null" || is_file_inside(root.get(), target))
      args.insert(args.end(), {"--external", "mnt[" + target + "]:" + target});
  struct Joined {
    std::string_view type;
    const char* kind;
    const char* name;
  };
  static constexpr Joined kJoined[] = {{"network", "net", "extRootNetNS"}, {"pid", "pid", "extRootPidNS"}};
  for (const auto& entry : record.namespaces)
    for (const auto& [type, kind, name] : kJoined) {
      struct stat st;
      if (entry.type != type || entry.path.empty()) continue;
      if (stat(entry.path.c_str(), &st) < 0) return fail_errno("namespace '%s'", entry.path.c_str());
      args.insert(args.end(), {"--external", format("%s[%lu]:%s", kind, static_cast<unsigned long>(st.st_ino), name)});
    }
  return {};
}

// Pipes of stdin, stdout and stderr lead out of the container; restore puts its own in their place.
Result<> save_descriptors(const Record& record, const std::string& images) {
  std::vector<std::string> names;
  for (int fd = 0; fd < 3; ++fd) {
    char target[PATH_MAX];
    ssize_t length =
        readlink(format("/proc/%ld/fd/%d", static_cast<long>(record.pid), fd).c_str(), target, sizeof target);
    names.emplace_back(target, length > 0 ? static_cast<size_t>(length) : 0);
  }
  return sys::replace_file(images + "/descriptors.json", json::encode(names), 0600);
}

Result<int> checkpoint(const Options& options, const Parsed& flags) {
  auto directory = TRY(Directory::open(options.root, flags.arguments[0]));
  TRY(directory.lock());
  auto record = TRY(directory.load());
  Status status = TRY(status_of(directory.path(), record));
  if (status != Status::kRunning && status != Status::kPaused)
    return fail(ErrorKind::kConflict, "Container cannot be checkpointed in %s state", status_name(status));
  bool pre_dump = flags.on("pre-dump");
  auto job = TRY(criu_job(flags, pre_dump ? "pre-dump.log" : "dump.log"));
  job.args = {pre_dump ? "pre-dump" : "dump", "--tree", std::to_string(record.pid), "--root", record.rootfs};
  auto common = TRY(common_criu_args(flags));
  job.args.insert(job.args.end(), common.begin(), common.end());
  if (const std::string* parent = flags.find("parent-path"))
    job.args.insert(job.args.end(), {"--prev-images-dir", *parent});
  if (pre_dump || flags.has("parent-path")) job.args.push_back("--track-mem");
  if (const auto* freezer = record.cgroup.v2 ? &record.cgroup.dirs.front() : record.cgroup.dir_of("freezer"))
    job.args.insert(job.args.end(), {"--freeze-cgroup", *freezer});
  TRY(add_page_server(flags, job.args));
  TRY(add_status_fd(flags, job));
  TRY(add_external(record, job.args));
  TRY(save_descriptors(record, job.images));
  TRY_CTX(run_criu(options, job), "checkpoint");
  if (pre_dump || flags.on("leave-running")) return 0;
  TRY(take_down(options, record, directory));
  return 0;
}

}  // namespace

constinit const Command kCheckpointCommand{&kUsage, checkpoint};

}  // namespace caisson::oci
