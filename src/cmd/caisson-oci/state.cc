// SPDX-License-Identifier: Apache-2.0
// The state directory, and the `state` and `spec` commands.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/text.h"
#include "commands.h"
#include "runtime/default_spec.h"
#include "sys/files.h"
#include "sys/process.h"

namespace caisson::oci {

namespace {

std::string dir_of(const Options& options, const std::string& id) { return options.root + "/" + id; }

// Two blanks per level: people edit what `spec` writes.
std::string indented(std::string_view json) {
  std::string out;
  int depth = 0;
  bool in_string = false;
  auto line = [&] { out += "\n" + std::string(static_cast<size_t>(depth) * 2, ' '); };
  for (size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (in_string) {
      out += c;
      if (c == '\\') out += json[++i];
      else if (c == '"') in_string = false;
      continue;
    }
    bool empty = (c == '{' || c == '[') && i + 1 < json.size() && (json[i + 1] == '}' || json[i + 1] == ']');
    if (empty) {
      out += c;
      out += json[++i];
    } else if (c == '{' || c == '[') {
      out += c;
      ++depth;
      line();
    } else if (c == '}' || c == ']') {
      --depth;
      line();
      out += c;
    } else {
      out += c;
      if (c == ',') line();
      if (c == ':') out += ' ';
      in_string = c == '"';
    }
  }
  return out + "\n";
}

}  // namespace

Result<> check_id(const std::string& id) {
  bool ok = !id.empty() && id.size() <= 1024 && id != "." && id != "..";
  for (char c : id) ok &= isalnum(static_cast<unsigned char>(c)) || (c && std::string_view("_+-.").find(c) != std::string_view::npos);
  if (!ok) return fail(ErrorKind::kInvalid, "invalid container ID format: %s", quoted(id).c_str());
  return {};
}

Result<> reserve(const Options& options, const std::string& id) {
  TRY(check_id(id));
  TRY(sys::make_dirs(options.root, 0711));
  if (mkdir(dir_of(options, id).c_str(), 0700) < 0) {
    if (errno == EEXIST) return fail(ErrorKind::kExists, "container with given ID already exists");
    return fail_errno("mkdir '%s'", dir_of(options, id).c_str());
  }
  return {};
}

Result<> save(const Options& options, const Record& record) {
  return sys::replace_file(dir_of(options, record.id) + "/state.json", json::encode(record), 0600);
}

Result<Record> load(const Options& options, const std::string& id) {
  TRY(check_id(id));
  auto text = sys::read_file(dir_of(options, id) + "/state.json", 1 << 20);
  if (!text) {
    if (text.error().err == ENOENT) return fail(ErrorKind::kNotFound, "container does not exist");
    return std::unexpected(std::move(text).error());
  }
  return json::decode<Record>(*text);
}

Result<> forget(const Options& options, const std::string& id) { return sys::remove_tree(dir_of(options, id)); }

std::optional<UniqueFd> open_process(const Record& record) {
  auto pid = static_cast<pid_t>(record.pid);
  auto pidfd = sys::open_pidfd(pid);
  if (!pidfd) return std::nullopt;
  // The pidfd first, then the comparison: what it names cannot change any more.
  auto time = sys::process_start_time(pid);
  if (!time || *time != record.start_time) return std::nullopt;
  auto stat = sys::read_file(format("/proc/%d/stat", pid), 4096);
  if (!stat) return std::nullopt;
  size_t close_at = stat->rfind(')');
  if (close_at == std::string::npos || close_at + 2 >= stat->size() || (*stat)[close_at + 2] == 'Z') return std::nullopt;
  return std::move(*pidfd);
}

std::optional<std::string> take_option(const std::vector<std::string>& args, size_t& at, const char* name, const char* short_name) {
  const std::string& word = args[at];
  if (word.starts_with(std::string(name) + "=")) {
    ++at;
    return word.substr(std::string_view(name).size() + 1);
  }
  if ((word == name || (short_name && word == short_name)) && at + 1 < args.size()) {
    at += 2;
    return args[at - 1];
  }
  return std::nullopt;
}

Result<int> state_command(const Options& options, const std::vector<std::string>& args) {
  if (args.size() != 1) return fail(ErrorKind::kInvalid, "state needs one container ID");
  auto record = TRY(load(options, args[0]));
  spec::OciState state;
  state.id = record.id;
  state.bundle = record.bundle;
  bool running = open_process(record).has_value();
  state.status = running ? "running" : "stopped";
  state.pid = running ? record.pid : 0;
  fputs(indented(to_json(state)).c_str(), stdout);
  return 0;
}

Result<int> spec_command(const Options&, const std::vector<std::string>& args) {
  std::string bundle = ".";
  size_t at = 0;
  while (at < args.size()) {
    if (auto value = take_option(args, at, "--bundle", "-b")) bundle = *value;
    else return fail(ErrorKind::kInvalid, "unknown argument %s", quoted(args[at]).c_str());
  }
  auto out = runtime::default_runtime_spec();
  out.process->args = {"sh"};
  out.process->terminal = true;
  out.process->env.push_back("TERM=xterm");
  out.process->no_new_privileges = true;
  out.root->path = "rootfs";
  out.root->readonly = true;
  out.hostname = "caisson";
  std::string path = bundle + "/config.json";
  if (sys::path_exists(path)) return fail(ErrorKind::kExists, "file %s exists. Remove it first", path.c_str());
  TRY(sys::replace_file(path, indented(to_json(out)), 0644));
  return 0;
}

}  // namespace caisson::oci
