// SPDX-License-Identifier: Apache-2.0
#include "cli/context_transfer.h"

#include <stdlib.h>

#include <algorithm>
#include <memory>

#include "base/text.h"
#include "sys/files.h"
#include "sys/terminal.h"
#include "wire/tar_reader.h"
#include "wire/tar_writer.h"

namespace caisson::cli {

namespace {

constexpr uint64_t kMaxMembers = 64;
constexpr size_t kMaxConfig = 4 << 20;

// "tls/docker/ca.pem" -> "docker/ca.pem"; "" for anything that has no business in a context.
std::string tls_name(const std::string& path) {
  auto parts = split(path, '/');
  if (parts.size() != 3 || parts[0] != "tls" || parts[1] != "docker") return {};
  for (const char* file : kTlsFiles)
    if (parts[2] == file) return parts[1] + "/" + parts[2];
  return {};
}

// DOCKER-QUIRK: archives that Docker's client makes end with the last member's data: no padding, no end blocks.
class PaddedSource : public ByteSource {
 public:
  explicit PaddedSource(ByteSource& inner) : inner_(inner) {}
  Result<size_t> read(std::span<char> buffer) override {
    if (!ended_) {
      size_t got = TRY(inner_.read(buffer));
      total_ += got;
      if (got > 0) return got;
      ended_ = true;
      left_ = (512 - total_ % 512) % 512 + 1024;
    }
    size_t size = std::min(left_, buffer.size());
    std::fill_n(buffer.begin(), size, '\0');
    left_ -= size;
    return size;
  }

 private:
  ByteSource& inner_;
  bool ended_ = false;
  size_t total_ = 0, left_ = 0;
};

Result<std::string> read_member(tar::Reader& reader, const tar::Entry& entry) {
  if (entry.size > kMaxContextFile)
    return fail(ErrorKind::kExhausted, "member %s is larger than %zu bytes", quoted(entry.path).c_str(),
                kMaxContextFile);
  std::string text(entry.size, '\0');
  size_t have = 0;
  while (have < text.size()) {
    size_t got = TRY(reader.read(std::span(text).subspan(have)));
    if (got == 0) return fail(ErrorKind::kInvalid, "member %s is cut", quoted(entry.path).c_str());
    have += got;
  }
  // What is in a context is text; zeros are the padding of a cut archive.
  if (text.find('\0') != text.npos)
    return fail(ErrorKind::kInvalid, "member %s is cut or no text", quoted(entry.path).c_str());
  return text;
}

// Of what a stranger wrote only what a context consists of; the name is the importer's.
Result<JsonValue> clean_meta(const std::string& text, const std::string& name) {
  auto meta = JsonValue::parse(text);
  if (!meta || !meta->is_object()) return fail(ErrorKind::kInvalid, "meta.json is not a JSON object");
  const JsonValue& docker = meta->at("Endpoints", "docker");
  if (!docker.is_object() || (docker.find("Host") && !docker.at("Host").is_string()))
    return fail(ErrorKind::kInvalid, "meta.json has no docker endpoint");
  meta->set("Name", name);
  return *meta;
}

}  // namespace

Result<> write_context_archive(ByteSink& sink, const ContextRecord& record) {
  tar::Writer writer(sink);
  TRY(writer.add({.path = "meta.json", .mode = 0644}, record.meta.dump()));
  if (!record.tls.empty()) {
    for (const char* directory : {"tls", "tls/docker"})
      TRY(writer.begin({.type = tar::EntryType::kDirectory, .path = directory, .mode = 0700}));
    for (const auto& [file, text] : record.tls) TRY(writer.add({.path = "tls/" + file, .mode = 0600}, text));
  }
  return writer.finish();
}

Result<ContextRecord> read_context_archive(ByteSource& source, const std::string& name) {
  PaddedSource padded(source);
  tar::Reader reader(padded, {.max_entries = kMaxMembers});
  ContextRecord record{.name = name, .meta = {}, .tls = {}};
  bool has_meta = false;
  while (auto entry = TRY(reader.next())) {
    std::string path = entry->path;
    if (path.starts_with("./")) path.erase(0, 2);
    while (path.ends_with('/')) path.pop_back();
    if (entry->type == tar::EntryType::kDirectory && (path.empty() || path == "tls" || path == "tls/docker")) continue;
    std::string file = tls_name(path);
    if (entry->type != tar::EntryType::kFile || (path != "meta.json" && file.empty()))
      return fail(ErrorKind::kInvalid, "unexpected context file: %s", quoted(entry->path).c_str());
    if (path == "meta.json" ? has_meta : record.tls.contains(file))
      return fail(ErrorKind::kInvalid, "member %s is there twice", quoted(entry->path).c_str());
    std::string text = TRY(read_member(reader, *entry));
    if (!file.empty()) {
      record.tls[file] = std::move(text);
      continue;
    }
    has_meta = true;
    record.meta = TRY(clean_meta(text, name));
  }
  if (!has_meta) return fail(ErrorKind::kInvalid, "invalid context: no meta.json in the archive");
  return record;
}

Result<int> export_context(App& app, const Invocation& call) {
  const std::string& name = call.args[0];
  TRY(check_context_name(name));
  ContextStore store(app.options.config_dir);
  ContextRecord record = TRY(store.find(name));
  TRY(store.read_tls(record));
  std::string file = call.args.size() > 1 ? call.args[1] : name + ".dockercontext";
  if (file == "-") {
    if (sys::is_terminal(1))
      return fail(ErrorKind::kInvalid, "cowardly refusing to export to a terminal, specify a file path");
    app.out.flush();
    sys::FdSink sink(1);
    TRY(write_context_archive(sink, record));
    return 0;
  }
  UniqueFd fd = TRY(sys::open_file(file, O_WRONLY | O_CREAT | O_EXCL, 0600));
  sys::FdSink sink(fd.get());
  if (auto written = write_context_archive(sink, record); !written) {
    (void)sys::remove_file(file);
    return std::unexpected(written.error());
  }
  app.complain("Written file \"" + file + "\"");
  return 0;
}

Result<int> import_context(App& app, const Invocation& call) {
  const std::string& name = call.args[0];
  TRY(check_context_name(name));
  ContextStore store(app.options.config_dir);
  if (store.find(name)) return fail(ErrorKind::kConflict, "context \"%s\" already exists", name.c_str());
  UniqueFd fd;
  if (call.args[1] != "-") fd = TRY(sys::open_file(call.args[1], O_RDONLY));
  sys::FdSource source(fd ? fd.get() : 0);
  TRY(store.save(TRY(read_context_archive(source, name))));
  app.out.line(name);
  app.complain("Successfully imported context \"" + name + "\"");
  return 0;
}

std::string current_context(const std::string& config_dir) {
  auto text = sys::read_file(config_dir + "/config.json", kMaxConfig);
  if (!text) return {};
  auto config = JsonValue::parse(*text);
  return config ? config->at("currentContext").text() : std::string();
}

Result<> set_current_context(const std::string& config_dir, const std::string& name) {
  std::string path = config_dir + "/config.json";
  // People keep it elsewhere and link to it.
  std::unique_ptr<char, decltype(&free)> real(realpath(path.c_str(), nullptr), free);
  if (real) path = real.get();
  JsonValue before = JsonValue::object(), after = JsonValue::object();
  if (real) {
    before = TRY_CTX(JsonValue::parse(TRY(sys::read_file(path, kMaxConfig))), "'" + path + "'");
    if (!before.is_object()) return fail(ErrorKind::kCorrupt, "'%s' is not a JSON object", path.c_str());
  }
  for (const auto& [key, value] : before.members())
    if (key != "currentContext") after.set(key, value);
  if (!name.empty()) after.set("currentContext", name);
  TRY(sys::make_dirs(config_dir, 0700));
  return sys::replace_file(path, indent_json(after.dump()) + "\n", 0600);
}

}  // namespace caisson::cli
