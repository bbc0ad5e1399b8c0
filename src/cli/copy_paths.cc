// SPDX-License-Identifier: Apache-2.0
#include "cli/copy_paths.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/text.h"

namespace caisson::cli {

namespace {

bool is_dot_path(const std::string& path) { return path == "." || path.ends_with("/."); }
bool ends_in_slash(const std::string& path) { return path.size() > 1 && path.ends_with('/'); }
bool asserts_directory(const std::string& path) { return path.ends_with('/') || is_dot_path(path); }

std::string clean(const std::string& path) {
  std::vector<std::string> parts;
  for (auto& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..")
      parts.push_back(std::move(part));
    else if (!parts.empty())
      parts.pop_back();
  }
  return "/" + join(parts, "/");
}

std::string keep_ending(std::string cleaned, const std::string& original) {
  if (is_dot_path(original) && !is_dot_path(cleaned)) return cleaned == "/" ? "/." : cleaned + "/.";
  if (ends_in_slash(original) && !cleaned.ends_with('/')) return cleaned + "/";
  return cleaned;
}

// Directory and last part; "/a/." is in "/a" as ".".
std::pair<std::string, std::string> split_entry(const std::string& path) {
  std::string whole = clean(path);
  if (is_dot_path(path)) return {whole, "."};
  if (whole == "/") return {"/", "/"};
  size_t slash = whole.rfind('/');
  return {slash == 0 ? "/" : whole.substr(0, slash), whole.substr(slash + 1)};
}

std::unexpected<Error> no_such_file(const char* call, const std::string& path, int err) {
  return fail(kind_of_errno(err), "%s %s: %s", call, path.c_str(), to_lower(errno_text(err)).c_str());
}

Result<std::string> real_path(const std::string& path) {
  std::unique_ptr<char, decltype(&free)> resolved(realpath(path.c_str(), nullptr), free);
  if (!resolved) return no_such_file("lstat", path, errno);
  return std::string(resolved.get());
}

}  // namespace

std::string path_base(const std::string& path) { return split_entry(path).second; }

std::string rebase_name(const std::string& path, std::string target, std::string& rebase) {
  if (!target.starts_with('/')) target = clean(split_entry(path).first + "/" + target);
  target = keep_ending(target, path);
  if (path_base(path) != path_base(target)) rebase = path_base(path);
  return target;
}

Result<CopyPlan> plan_copy(const LocalPath& source, const LocalPath& destination) {
  auto [directory, name] = split_entry(destination.path);
  std::string from = path_base(source.path);
  std::string shown = source.rebase.empty() ? from : source.rebase;
  auto renamed = [&](const std::string& to) {
    return std::optional(std::pair(from == "/" ? std::string() : from, to));
  };
  if (destination.exists && destination.is_directory)
    return CopyPlan{destination.path, source.rebase.empty() ? std::nullopt : renamed(shown)};
  if (destination.exists && source.is_directory) return fail(ErrorKind::kInvalid, "cannot copy directory");
  if (!destination.exists && !source.is_directory && asserts_directory(destination.path))
    return fail(ErrorKind::kInvalid, "no such directory");
  return CopyPlan{directory, renamed(name)};
}

Result<std::string> absolute_local_path(const std::string& path) {
  std::string whole = path;
  if (!path.starts_with('/')) {
    std::unique_ptr<char, decltype(&free)> here(getcwd(nullptr, 0), free);
    if (!here) return fail_errno("getwd");
    whole = std::string(here.get()) + "/" + path;
  }
  return keep_ending(clean(whole), path);
}

Result<> check_output_path(const std::string& path) {
  std::string whole = TRY(absolute_local_path(path));
  std::string directory = split_entry(clean(whole)).first;
  struct stat st {};
  if (stat(directory.c_str(), &st) < 0)
    return fail(ErrorKind::kNotFound, "invalid output path: directory \"%s\" does not exist", directory.c_str());
  if (stat(whole.c_str(), &st) == 0 && !S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
    return fail(ErrorKind::kInvalid, "invalid output path: \"%s\" must be a directory or a regular file", path.c_str());
  return {};
}

Result<LocalPath> local_destination(const std::string& path) {
  LocalPath out{.path = path};
  struct stat st {};
  if (stat(path.c_str(), &st) == 0) {
    // A link to a file: the file it leads to is replaced, not the link.
    if (!S_ISDIR(st.st_mode)) out.path = TRY(real_path(path));
    out.exists = true;
    out.is_directory = S_ISDIR(st.st_mode);
    return out;
  }
  std::string parent = split_entry(path).first;
  if (stat(parent.c_str(), &st) < 0) return no_such_file("lstat", parent, errno);
  if (!S_ISDIR(st.st_mode)) return fail(ErrorKind::kInvalid, "not a directory");
  return out;
}

Result<LocalPath> local_source(const std::string& path, bool follow_link) {
  LocalPath out;
  if (follow_link) {
    out.path = rebase_name(path, TRY(real_path(path)), out.rebase);
  } else {
    auto [directory, name] = split_entry(path);
    if (name == "/")
      out.path = "/";
    else if (asserts_directory(path))
      out.path = rebase_name(path, TRY(real_path(path)), out.rebase);
    else
      out.path = clean(TRY(real_path(directory)) + "/" + name);
  }
  struct stat st {};
  if (lstat(out.path.c_str(), &st) < 0) return no_such_file("lstat", path, errno);
  out.exists = true;
  out.is_directory = S_ISDIR(st.st_mode);
  return out;
}

}  // namespace caisson::cli
