// SPDX-License-Identifier: Apache-2.0
// Command line and configuration file, into one set of options; Docker's sentences for what does not go together.
#include "cmd/caissond/daemon_options.h"

#include <stdlib.h>

#include <algorithm>
#include <map>

#include "base/text.h"
#include "cmd/caissond/daemon_flags.h"
#include "image/fetch_registries.h"
#include "logs/log_options.h"
#include "sys/files.h"
#include "wire/json.h"

namespace caisson {

namespace {

constexpr const char* kDefaultConfigFile = "/etc/caisson/daemon.json";
constexpr const char* kDefaultHost = "unix:///run/caisson/caisson.sock";

using Given = std::map<std::string, std::vector<std::string>>;  // flag -> values on the command line
using Members = std::map<std::string, json::Raw>;

struct UlimitMember {
  int64_t soft = 0, hard = 0;
};
CAISSON_JSON(UlimitMember, CAISSON_FIELD("Soft", soft), CAISSON_FIELD("Hard", hard))

struct PoolMember {
  std::string base;
  int64_t size = 0;
};
CAISSON_JSON(PoolMember, CAISSON_FIELD("base", base), CAISSON_FIELD("size", size))

// The values of a key, in the form that the flag takes.
Result<std::vector<std::string>> values_of(const Flag& flag, const json::Raw& value) {
  std::string_view name = flag.name;
  if (auto list = json::decode<std::vector<std::string>>(value.text)) return *list;
  if (auto text = json::decode<std::string>(value.text)) return std::vector<std::string>{*text};
  std::vector<std::string> values;
  if (name == "log-opt" || name == "proxies") {
    // Docker takes strings only here, and says so.
    auto map = json::decode<std::map<std::string, std::string>>(value.text);
    if (!map) return fail(ErrorKind::kInvalid, "expected an object of strings");
    for (const auto& [key, text] : *map) values.push_back(key + "=" + text);
  } else if (name == "feature") {
    for (const auto& [key, on] : TRY((json::decode<std::map<std::string, bool>>(value.text))))
      values.push_back(key + (on ? "=true" : "=false"));
  } else if (name == "default-address-pool") {
    for (const auto& pool : TRY((json::decode<std::vector<PoolMember>>(value.text))))
      values.push_back(format("base=%s,size=%lld", pool.base.c_str(), static_cast<long long>(pool.size)));
  } else if (name == "default-network-opt") {
    using Options = std::map<std::string, std::map<std::string, std::string>>;
    for (const auto& [driver, options] : TRY((json::decode<Options>(value.text))))
      for (const auto& [key, text] : options) values.push_back(driver + "=" + key + "=" + text);
  } else if (name == "default-ulimit") {
    auto map = TRY((json::decode<std::map<std::string, UlimitMember>>(value.text)));
    for (const auto& [key, limit] : map)
      values.push_back(
          format("%s=%lld:%lld", key.c_str(), static_cast<long long>(limit.soft), static_cast<long long>(limit.hard)));
  } else if (flag.form == FlagForm::kMap) {
    auto map = TRY((json::decode<std::map<std::string, json::Raw>>(value.text)));
    for (const auto& [key, ignored] : map) values.push_back(key);
  } else {
    values = {value.text};  // numbers and booleans as they stand
  }
  return values;
}

std::string shown(const Flag& flag, const std::vector<std::string>& values) {
  if (flag.form != FlagForm::kSingle) return "[" + join(values, " ") + "]";
  if (values.empty() || (values.back().empty() && !flag.argument)) return "true";
  return values.back();
}

std::string file_name(const DaemonOptions& options) {
  return options.config_file.empty() ? kDefaultConfigFile : options.config_file;
}

Result<Members> read_members(const std::string& file, bool asked) {
  if (!asked && !sys::path_exists(file)) return Members{};
  std::string text = TRY(sys::read_file(file, 1 << 20));
  if (trim(text).empty()) return Members{};
  auto members = json::decode<Members>(text);
  if (!members) return fail(ErrorKind::kInvalid, "%s", members.error().message.c_str());
  std::vector<std::string> unknown;
  for (const auto& [key, value] : *members)
    if (!find_key(key)) unknown.push_back(key);
  if (!unknown.empty())
    return fail(ErrorKind::kInvalid, "the following directives don't match any configuration option: %s",
                join(unknown, ", ").c_str());
  return *members;
}

Result<> apply_members(DaemonOptions& options, const Members& members, const Given& given) {
  std::vector<std::string> conflicts;
  for (const auto& [key, value] : members) {
    const Flag& flag = *find_key(key);
    auto values = TRY_CTX(values_of(flag, value), "key '" + key + "'");
    if (auto twice = given.find(flag.name); twice != given.end()) {
      conflicts.push_back(format("%s: (from flag: %s, from file: %s)", key.c_str(), shown(flag, twice->second).c_str(),
                                 shown(flag, values).c_str()));
      continue;
    }
    for (const auto& entry : values) TRY_CTX(flag.apply(options, entry), "key '" + key + "'");
  }
  if (conflicts.empty()) return {};
  return fail(ErrorKind::kInvalid,
              "the following directives are specified both as a flag and in the configuration file: %s",
              join(conflicts, ", ").c_str());
}

Result<> parse_flags(DaemonOptions& options, Given& given, int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (!word.starts_with('-') || word == "-" || word == "--")
      return fail(ErrorKind::kInvalid, "unexpected argument %s", quoted(word).c_str());
    std::string name = word.substr(word.starts_with("--") ? 2 : 1), value;
    bool has_value = false;
    if (auto pair = split_once(name, '=')) {
      name = pair->first;
      value = pair->second;
      has_value = true;
    }
    const Flag* flag = find_flag(name);
    if (!flag) return fail(ErrorKind::kInvalid, "unknown flag: --%s", name.substr(0, 64).c_str());
    if (flag->argument && !has_value) {
      if (i + 1 >= argc) return fail(ErrorKind::kInvalid, "flag needs an argument: --%s", flag->name);
      value = argv[++i];
    }
    given[flag->name].push_back(value);
    TRY_CTX(flag->apply(options, value), std::string("flag --") + flag->name);
  }
  return {};
}

std::string environment(const char* name) {
  const char* value = secure_getenv(name);
  return value ? value : "";
}

// Docker's defaults: a file that nobody named and that is not there counts as none.
void fill_tls(TlsFlags& tls) {
  if (!environment("DOCKER_TLS_VERIFY").empty()) tls.on = tls.verify = true;
  if (!tls.on) return;
  std::string directory = environment("DOCKER_CERT_PATH");
  if (directory.empty()) directory = environment("DOCKER_CONFIG");
  if (directory.empty()) directory = environment("HOME") + "/.docker";
  if (tls.ca.empty() && tls.verify) tls.ca = directory + "/ca.pem";
  if (tls.certificate.empty()) tls.certificate = directory + "/cert.pem";
  if (tls.key.empty()) tls.key = directory + "/key.pem";
}

Result<> finish(DaemonOptions& options) {
  TRY_CTX(logs::make_config(options.engine.log_driver, options.engine.log_options, {}), "the default log driver");
  if (options.engine.hosts.empty()) options.engine.hosts.push_back(kDefaultHost);
  options.engine.program_dir = TRY(sys::program_dir());
  fill_tls(options.tls);
  if (options.engine.registry_certs_dirs.empty())
    options.engine.registry_certs_dirs = {"/etc/caisson/certs.d", "/etc/docker/certs.d"};
  options.engine.registries =
      std::make_shared<const image::RegistriesConfig>(TRY(image::load_registries_conf(options.engine.registries_conf)));
  return {};
}

}  // namespace

std::string daemon_help() {
  std::vector<const Flag*> flags;
  for (auto table : all_flags())
    for (const Flag& flag : table) flags.push_back(&flag);
  std::sort(flags.begin(), flags.end(),
            [](const Flag* a, const Flag* b) { return std::string_view(a->name) < b->name; });
  std::string out = "Usage:  caissond [OPTIONS]\n\nA small container engine with Docker's API.\n\nOptions:\n";
  for (const Flag* flag : flags) {
    std::string left = std::string("--") + flag->name + (flag->argument ? std::string(" ") + flag->argument : "");
    out += format("  %-36s %s\n", left.c_str(), flag->help);
  }
  return out;
}

Result<DaemonOptions> parse_daemon_options(int argc, char** argv) {
  DaemonOptions options;
  Given given;
  TRY(parse_flags(options, given, argc, argv));
  if (options.show_help || options.show_version) return options;
  std::string file = file_name(options);
  auto read = [&]() -> Result<> {
    Members members = TRY(read_members(file, !options.config_file.empty()));
    return apply_members(options, members, given);
  };
  TRY_CTX(read(), "unable to configure the engine with file " + file);
  TRY(finish(options));
  return options;
}

Result<Reload> reload_daemon_options(int argc, char** argv) {
  Reload reload;
  Given given;
  TRY(parse_flags(reload.options, given, argc, argv));
  Members members = TRY(read_members(file_name(reload.options), !reload.options.config_file.empty()));
  for (const auto& [key, value] : members)
    if (!find_key(key)->reloadable) reload.ignored.push_back(key);
  TRY(apply_members(reload.options, members, given));
  TRY(finish(reload.options));
  return reload;
}

}  // namespace caisson
