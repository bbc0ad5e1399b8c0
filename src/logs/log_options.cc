// SPDX-License-Identifier: Apache-2.0
#include "logs/log_options.h"

#include <regex.h>

#include <algorithm>

#include "base/text.h"

namespace caisson::logs {

namespace {

constexpr std::string_view kDrivers[] = {"journald", "json-file", "local", "syslog"};
constexpr std::string_view kNotHere[] = {"awslogs", "fluentd", "gcplogs", "gelf", "splunk", "etwlogs", "logentries"};
constexpr std::string_view kAnyDriver[] = {"mode", "max-buffer-size", "labels", "labels-regex",
                                           "env",  "env-regex",       "tag"};
constexpr std::string_view kFileOptions[] = {"max-size", "max-file", "compress"};
constexpr std::string_view kCacheOptions[] = {"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"};
constexpr std::string_view kSyslogOptions[] = {"syslog-address", "syslog-facility", "syslog-format"};
constexpr std::string_view kSyslogTls[] = {"syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key",
                                           "syslog-tls-skip-verify"};
constexpr std::string_view kFacilities[] = {
    "kern", "user", "mail", "daemon", "auth",   "syslog", "lpr",    "news",   "uucp",   "cron",   "authpriv", "ftp",
    "",     "",     "",     "",       "local0", "local1", "local2", "local3", "local4", "local5", "local6",   "local7"};
constexpr int64_t kDefaultSize = 20 << 20;  // driver local and the cache, as in Docker
constexpr int kDefaultFiles = 5;
constexpr const char* kJournalSocket = "/run/systemd/journal/socket";

bool in(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

const std::string* find(const Options& options, const char* key) {
  auto found = options.find(key);
  return found == options.end() ? nullptr : &found->second;
}

// Go's strconv.ParseBool.
Result<bool> parse_bool(const char* key, const std::string& text) {
  static constexpr std::string_view kTrue[] = {"1", "t", "T", "TRUE", "true", "True"};
  static constexpr std::string_view kFalse[] = {"0", "f", "F", "FALSE", "false", "False"};
  if (in(kTrue, text)) return true;
  if (in(kFalse, text)) return false;
  return fail(ErrorKind::kInvalid, "error parsing option %s: \"%s\" is neither true nor false", key, text.c_str());
}

std::unexpected<Error> unknown_option(const std::string& key, const std::string& driver) {
  if (driver == "local") return fail(ErrorKind::kInvalid, "unknown log opt '%s' for log driver local", key.c_str());
  return fail(ErrorKind::kInvalid, "unknown log opt '%s' for %s log driver", key.c_str(), driver.c_str());
}

Result<> check_names(const std::string& driver, const Options& options) {
  bool files = driver == "json-file" || driver == "local";
  for (const auto& [key, value] : options) {
    if (driver == "syslog" && in(kSyslogTls, key))
      return fail(ErrorKind::kUnsupported, "log opt '%s': syslog over TLS is not supported by this release",
                  key.c_str());
    // Those of the cache mean nothing to a driver that has none; as in Docker they may stand there.
    bool known = in(kAnyDriver, key) || in(kCacheOptions, key) || (files && in(kFileOptions, key)) ||
                 (driver == "syslog" && in(kSyslogOptions, key));
    if (!known) return unknown_option(key.substr(0, 64), driver);
  }
  return {};
}

Result<> take_mode(const Options& options, LogConfig& config) {
  const std::string* mode = find(options, "mode");
  if (mode && !mode->empty() && *mode != "blocking" && *mode != "non-blocking")
    return fail(ErrorKind::kInvalid, "logger: logging mode not supported: %s", mode->substr(0, 64).c_str());
  config.non_blocking = mode && *mode == "non-blocking";
  if (const std::string* size = find(options, "max-buffer-size")) {
    if (!config.non_blocking)
      return fail(ErrorKind::kInvalid, "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
    config.max_buffer = TRY_CTX(parse_log_size(*size, 1024), "error parsing option max-buffer-size");
  }
  return {};
}

// `prefix` is "" or "cache-".
Result<> take_rotation(const Options& options, const std::string& prefix, bool json, LogConfig& config) {
  std::string size_key = prefix + "max-size", files_key = prefix + "max-file", compress_key = prefix + "compress";
  config.max_size = json ? -1 : kDefaultSize;
  config.max_files = json ? 1 : kDefaultFiles;
  if (const std::string* size = find(options, size_key.c_str())) {
    config.max_size = TRY_CTX(parse_log_size(*size, 1000), "error parsing option " + size_key);
    if (config.max_size <= 0) return fail(ErrorKind::kInvalid, "%s must be a positive number", size_key.c_str());
  }
  if (const std::string* files = find(options, files_key.c_str())) {
    auto count = parse_int(*files);
    if (!count)
      return fail(ErrorKind::kInvalid, "error parsing option %s: \"%s\" is no number", files_key.c_str(),
                  files->substr(0, 64).c_str());
    if (*count < 1) return fail(ErrorKind::kInvalid, "%s cannot be less than 1", files_key.c_str());
    if (*count > kMaxFiles) return fail(ErrorKind::kInvalid, "%s cannot be more than %d", files_key.c_str(), kMaxFiles);
    config.max_files = static_cast<int>(*count);
  }
  const std::string* compress = find(options, compress_key.c_str());
  // Docker refuses max-file=1 with local's default of true; nobody asked for compression there.
  config.compress = compress ? TRY(parse_bool(compress_key.c_str(), *compress)) : !json && config.max_files > 1;
  if (!config.compress) return {};
  if (json && (config.max_files == 1 || config.max_size == -1))
    return fail(ErrorKind::kInvalid, "compress cannot be true when max-file is less than 2 or max-size is not set");
  if (config.max_files == 1) return fail(ErrorKind::kInvalid, "compression cannot be enabled when max file count is 1");
  return {};
}

Result<> add_matches(const char* key, const std::string& pattern, const std::map<std::string, std::string>& values,
                     std::vector<std::string>& out) {
  if (pattern.size() > 4096) return fail(ErrorKind::kInvalid, "log opt '%s' is longer than 4096 bytes", key);
  regex_t compiled;
  if (int error = regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB); error != 0) {
    char text[128];
    regerror(error, &compiled, text, sizeof text);
    return fail(ErrorKind::kInvalid, "log opt '%s': \"%s\": %s", key, pattern.substr(0, 128).c_str(), text);
  }
  for (const auto& [name, value] : values)
    if (regexec(&compiled, name.c_str(), 0, nullptr, 0) == 0) out.push_back(name);
  regfree(&compiled);
  return {};
}

// logger.Info.ExtraAttributes: labels and variables by list and by pattern; a missing one is left out.
Result<> take_attributes(const Options& options, const LogSubject& subject, LogConfig& config) {
  std::map<std::string, std::string> labels, env, out;
  if (subject.labels) labels = *subject.labels;
  if (subject.env)
    for (const auto& entry : *subject.env)
      if (auto pair = split_once(entry, '=')) env[pair->first] = pair->second;
  struct {
    const char *list, *pattern;
    const std::map<std::string, std::string>& values;
  } const sources[] = {{"labels", "labels-regex", labels}, {"env", "env-regex", env}};
  for (const auto& source : sources) {
    std::vector<std::string> chosen;
    if (const std::string* list = find(options, source.list); list && !list->empty()) chosen = split(*list, ',');
    if (const std::string* pattern = find(options, source.pattern); pattern && !pattern->empty())
      TRY(add_matches(source.pattern, *pattern, source.values, chosen));
    for (const auto& name : chosen)
      if (auto found = source.values.find(name); found != source.values.end()) out[name] = found->second;
  }
  const std::string* tag = find(options, "tag");
  bool network = config.driver == "syslog" || config.driver == "journald";
  config.tag = TRY(expand_tag(tag && !tag->empty() ? *tag : network ? "{{.ID}}" : "", subject));
  if (!network && !config.tag.empty()) out["tag"] = config.tag;
  config.attrs.assign(out.begin(), out.end());
  return {};
}

Result<std::string> check_address(const std::string& text) {
  if (text.empty()) return text;
  size_t colon = text.find("://");
  if (colon == std::string::npos)
    return fail(ErrorKind::kInvalid, "syslog-address should be in form proto://address, got %s",
                text.substr(0, 128).c_str());
  std::string scheme = text.substr(0, colon), rest = text.substr(colon + 3);
  if (scheme == "tcp+tls")
    return fail(ErrorKind::kUnsupported,
                "syslog-address 'tcp+tls://': syslog over TLS is not supported by this release");
  if (scheme == "unix" || scheme == "unixgram") {
    if (!rest.starts_with('/'))
      return fail(ErrorKind::kInvalid, "syslog-address '%s': the path is not absolute", text.substr(0, 128).c_str());
    return text;
  }
  if (scheme != "udp" && scheme != "tcp")
    return fail(ErrorKind::kInvalid, "unsupported scheme: '%s'", scheme.substr(0, 32).c_str());
  if (rest.empty()) return fail(ErrorKind::kInvalid, "syslog-address '%s' names no host", text.substr(0, 128).c_str());
  size_t port = rest.find(':', rest.starts_with('[') ? std::min(rest.find(']'), rest.size()) : 0);
  if (port == std::string::npos) return text + ":514";
  auto number = parse_uint(std::string_view(rest).substr(port + 1));
  if (port == 0 || !number || *number == 0 || *number > 65535)
    return fail(ErrorKind::kInvalid, "syslog-address '%s' has no host and port", text.substr(0, 128).c_str());
  return text;
}

Result<> take_syslog(const Options& options, LogConfig& config) {
  const std::string* address = find(options, "syslog-address");
  config.address = TRY(check_address(address ? *address : ""));
  if (const std::string* facility = find(options, "syslog-facility"); facility && !facility->empty()) {
    auto named = std::find(std::begin(kFacilities), std::end(kFacilities), *facility);
    auto number = parse_int(*facility);
    if (named != std::end(kFacilities))
      config.facility = static_cast<int>(named - std::begin(kFacilities));
    else if (number && *number >= 0 && *number <= 23)
      config.facility = static_cast<int>(*number);
    else
      return fail(ErrorKind::kInvalid, "invalid syslog facility");
  }
  static constexpr std::string_view kFormats[] = {"", "rfc3164", "rfc5424", "rfc5424micro"};
  const std::string* format = find(options, "syslog-format");
  auto named = std::find(std::begin(kFormats), std::end(kFormats), format ? *format : "");
  if (named == std::end(kFormats)) return fail(ErrorKind::kInvalid, "Invalid syslog format");
  config.format = static_cast<SyslogFormat>(named - std::begin(kFormats));
  return {};
}

}  // namespace

std::span<const std::string_view> driver_names() { return kDrivers; }

Result<LogConfig> make_config(const std::string& driver, const Options& options, const LogSubject& subject) {
  LogConfig config;
  config.driver = driver;
  config.container_id = subject.id;
  config.container_name = subject.name;
  config.image_name = subject.image_name;
  if (driver == "none") return config;  // as in Docker, whatever options there are
  if (in(kNotHere, driver))
    return fail(ErrorKind::kUnsupported,
                "logging driver '%s' is not supported by this release: use local, json-file, journald, syslog or none",
                driver.c_str());
  if (!in(kDrivers, driver))
    return fail(ErrorKind::kInvalid, "logger: no log driver named '%s' is registered", driver.substr(0, 64).c_str());
  TRY(check_names(driver, options));
  TRY(take_mode(options, config));
  TRY(take_attributes(options, subject, config));
  if (driver == "json-file" || driver == "local") {
    TRY(take_rotation(options, "", driver == "json-file", config));
    return config;
  }
  const std::string* disabled = find(options, "cache-disabled");
  config.cache = !(disabled && TRY(parse_bool("cache-disabled", *disabled)));
  TRY(take_rotation(options, "cache-", false, config));
  if (driver == "syslog")
    TRY(take_syslog(options, config));
  else
    config.address = kJournalSocket;
  return config;
}

Result<int64_t> parse_log_size(std::string_view text, int64_t thousand) {
  auto bad = [&] { return fail(ErrorKind::kInvalid, "invalid size: '%s'", std::string(text.substr(0, 64)).c_str()); };
  std::string_view rest = text;
  size_t size = 0;
  while (size < rest.size() && ((rest[size] >= '0' && rest[size] <= '9') || rest[size] == '.')) ++size;
  auto parts = split_once(rest.substr(0, size), '.');
  auto whole = parse_int(parts ? std::string_view(parts->first) : rest.substr(0, size));
  auto fraction = parts && !parts->second.empty() && parts->second.size() <= 9 ? parse_int(parts->second)
                                                                               : std::optional<int64_t>(0);
  if (!whole || !fraction || (parts && parts->second.empty())) return bad();
  rest.remove_prefix(size);
  if (rest.starts_with(' ')) rest.remove_prefix(1);
  std::string unit = to_lower(rest);
  int64_t factor = 1;
  if (!unit.empty() && unit != "b") {
    size_t power = std::string_view("kmgt").find(unit[0]);
    std::string_view suffix = std::string_view(unit).substr(1);
    if (power == std::string_view::npos || (suffix != "" && suffix != "b" && suffix != "ib" && suffix != "i"))
      return bad();
    for (size_t i = 0; i <= power; ++i) factor *= thousand;
  }
  int64_t result;
  if (__builtin_mul_overflow(*whole, factor, &result)) return bad();
  double part = static_cast<double>(*fraction);
  for (size_t i = 0; parts && i < parts->second.size(); ++i) part /= 10;
  return result + static_cast<int64_t>(part * static_cast<double>(factor));
}

Result<std::string> expand_tag(std::string_view text, const LogSubject& subject) {
  if (text.size() > 1024) return fail(ErrorKind::kInvalid, "log opt 'tag' is longer than 1024 bytes");
  std::string out;
  while (true) {
    size_t open = text.find("{{");
    out += text.substr(0, open);
    if (open == std::string_view::npos) return out;
    size_t close = text.find("}}", open);
    std::string field(close == std::string_view::npos ? text.substr(open)
                                                      : trim(text.substr(open + 2, close - open - 2)));
    if (field == ".ID")
      out += subject.id.substr(0, 12);
    else if (field == ".FullID")
      out += subject.id;
    else if (field == ".Name")
      out += subject.name;
    else if (field == ".ImageID")
      out += subject.image_id.substr(0, 12);  // DOCKER-QUIRK: "sha256:" counts
    else if (field == ".ImageFullID")
      out += subject.image_id;
    else if (field == ".ImageName")
      out += subject.image_name;
    else if (field == ".DaemonName")
      out += "docker";
    else
      return fail(
          ErrorKind::kInvalid,
          "log opt 'tag': '%s' is not one of .ID, .FullID, .Name, .ImageID, .ImageFullID, .ImageName, .DaemonName",
          field.substr(0, 64).c_str());
    text.remove_prefix(close + 2);
  }
}

}  // namespace caisson::logs
