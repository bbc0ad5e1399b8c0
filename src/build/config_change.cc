// SPDX-License-Identifier: Apache-2.0
#include "build/config_change.h"

#include <algorithm>
#include <optional>

#include "base/text.h"

namespace caisson::build {

namespace {

constexpr size_t kMaxLine = 64 << 10;

std::string to_upper(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

std::string_view skip_space(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text;
}

// The next word as written; quotes keep spaces together and stay, a backslash takes the next character along.
std::string_view take_word(std::string_view& text) {
  text = skip_space(text);
  char quote = 0;
  size_t end = 0;
  for (; end < text.size(); ++end) {
    char c = text[end];
    if (c == '\\' && end + 1 < text.size()) {
      ++end;
    } else if (quote) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (is_space(c)) {
      break;
    }
  }
  std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!(text = skip_space(text)).empty()) out.push_back(take_word(text));
  return out;
}

// Quotes off, backslashes off, as a shell would; "$" is left alone, there is nothing to put in.
std::string unquote(std::string_view word) {
  std::string out;
  char quote = 0;
  for (size_t i = 0; i < word.size(); ++i) {
    char c = word[i];
    bool escapes = quote != '\'' && c == '\\' && i + 1 < word.size();
    // Between double quotes a backslash is one unless it stands before what would mean something.
    if (escapes && quote == '"' && word[i + 1] != '"' && word[i + 1] != '\\' && word[i + 1] != '$') escapes = false;
    if (escapes)
      out += word[++i];
    else if (quote ? c == quote : c == '"' || c == '\'')
      quote = quote ? 0 : c;
    else
      out += c;
  }
  return out;
}

// ["a", "b"]; nullopt where the text is not that.
std::optional<std::vector<std::string>> json_words(std::string_view text) {
  text = skip_space(text);
  if (text.empty() || text.front() != '[') return std::nullopt;
  auto list = json::decode<std::vector<std::string>>(text);
  if (!list) return std::nullopt;
  return std::move(*list);
}

std::unexpected<Error> bad(const char* instruction, const char* why) {
  return fail(ErrorKind::kInvalid, "%s %s", instruction, why);
}

// name=value pairs, or "name value" in the old form.
Result<std::vector<std::pair<std::string, std::string>>> pairs_of(const char* instruction, std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  std::string_view rest = text;
  std::string_view first = take_word(rest);
  if (first.empty()) return bad(instruction, "requires at least one argument");
  if (first.find('=') == first.npos) {
    rest = skip_space(rest);
    if (rest.empty()) return bad(instruction, "must have two arguments");
    out.emplace_back(unquote(first), unquote(rest));
  } else {
    for (std::string_view word : words_of(text)) {
      size_t sign = word.find('=');
      if (sign == word.npos)
        return fail(ErrorKind::kInvalid, "Syntax error - can't find = in %s. Must be of the form: name=value",
                    quoted(word).c_str());
      out.emplace_back(unquote(word.substr(0, sign)), unquote(word.substr(sign + 1)));
    }
  }
  for (const auto& [name, value] : out)
    if (name.empty()) return bad(instruction, "names can not be blank");
  return out;
}

Result<> set_env(spec::ContainerConfig& config, std::string_view text) {
  for (const auto& [name, value] : TRY(pairs_of("ENV", text))) {
    auto is_it = [&](const std::string& entry) { return entry == name || entry.starts_with(name + "="); };
    auto found = std::find_if(config.env.begin(), config.env.end(), is_it);
    if (found != config.env.end())
      *found = name + "=" + value;
    else
      config.env.push_back(name + "=" + value);
  }
  return {};
}

Result<> expose(spec::ContainerConfig& config, std::string_view text) {
  auto words = words_of(text);
  if (words.empty()) return bad("EXPOSE", "requires at least one argument");
  for (std::string_view word : words) {
    std::string port = unquote(word), protocol = "tcp";
    if (auto parts = split_once(port, '/')) {
      protocol = to_lower(parts->second);
      port = parts->first;
    }
    auto ends = split_once(port, '-');
    auto first = parse_uint(ends ? ends->first : port), last = ends ? parse_uint(ends->second) : first;
    bool is_known = protocol == "tcp" || protocol == "udp" || protocol == "sctp";
    if (!first || !last || *first < 1 || *last > 65535 || *last < *first || !is_known)
      return fail(ErrorKind::kInvalid, "invalid containerPort: %s", quoted(word).c_str());
    for (uint64_t number = *first; number <= *last; ++number)
      config.exposed_ports[std::to_string(number) + "/" + protocol];
  }
  return {};
}

void set_command(spec::StringList& out, const spec::StringList& shell, std::string_view text) {
  out.present = true;
  if (auto words = json_words(text)) {
    out.items = std::move(*words);
    return;
  }
  out.items = shell.present && !shell.items.empty() ? shell.items : std::vector<std::string>{"/bin/sh", "-c"};
  out.items.emplace_back(trim(text));
}

Result<int64_t> duration_of(std::string_view flag, std::string_view text) {
  static constexpr std::pair<std::string_view, int64_t> kUnits[] = {
      {"ms", 1'000'000},    {"us", 1'000},         {"ns", 1},
      {"s", 1'000'000'000}, {"m", 60'000'000'000}, {"h", 3600'000'000'000}};
  int64_t total = 0;
  bool good = !text.empty();
  while (good && !text.empty()) {
    size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    auto number = parse_uint(text.substr(0, digits));
    text.remove_prefix(digits);
    auto unit = std::find_if(std::begin(kUnits), std::end(kUnits), [&](auto& u) { return text.starts_with(u.first); });
    good = number && *number < 1'000'000 && unit != std::end(kUnits);
    if (!good) break;
    total += static_cast<int64_t>(*number) * unit->second;
    text.remove_prefix(unit->first.size());
  }
  if (!good) return fail(ErrorKind::kInvalid, "HEALTHCHECK --%s: invalid duration", std::string(flag).c_str());
  return total;
}

Result<> set_health(spec::ContainerConfig& config, std::string_view text) {
  spec::HealthConfig health;
  std::string_view rest = text, word = take_word(rest);
  for (; word.starts_with("--"); word = take_word(rest)) {
    auto parts = split_once(word.substr(2), '=');
    if (!parts) return fail(ErrorKind::kInvalid, "HEALTHCHECK: flag %s has no value", quoted(word).c_str());
    if (parts->first == "retries") {
      auto retries = parse_uint(parts->second);
      if (!retries || *retries > INT32_MAX) return bad("HEALTHCHECK", "--retries must be a number");
      health.retries = static_cast<int64_t>(*retries);
      continue;
    }
    int64_t* field = parts->first == "interval"         ? &health.interval
                     : parts->first == "timeout"        ? &health.timeout
                     : parts->first == "start-period"   ? &health.start_period
                     : parts->first == "start-interval" ? &health.start_interval
                                                        : nullptr;
    if (!field) return fail(ErrorKind::kInvalid, "unknown flag: --%s", parts->first.substr(0, 64).c_str());
    *field = TRY(duration_of(parts->first, parts->second));
  }
  std::string kind = to_upper(word);
  if (kind == "NONE") {
    if (!trim(rest).empty()) return bad("HEALTHCHECK", "NONE takes no arguments");
    health = {};
    health.test = {"NONE"};
  } else if (kind == "CMD") {
    if (auto words = json_words(rest)) {
      health.test = {"CMD"};
      health.test.insert(health.test.end(), words->begin(), words->end());
    } else {
      health.test = {"CMD-SHELL", std::string(trim(rest))};
    }
    if (health.test.size() < 2 || health.test[1].empty()) return bad("HEALTHCHECK", "missing command after CMD");
  } else {
    return bad("HEALTHCHECK", "requires CMD or NONE");
  }
  config.healthcheck = std::move(health);
  return {};
}

Result<std::string> single(const char* instruction, std::string_view text) {
  auto words = words_of(text);
  if (words.size() != 1) return bad(instruction, "requires exactly one argument");
  std::string value = unquote(words[0]);
  if (value.empty()) return bad(instruction, "requires exactly one argument");
  return value;
}

}  // namespace

Result<> apply_change(spec::ContainerConfig& config, const std::string& line) {
  if (line.size() > kMaxLine || line.find('\0') != line.npos)
    return fail(ErrorKind::kInvalid, "a change is longer than %zu bytes or holds a zero byte", kMaxLine);
  std::string_view rest = line;
  std::string name = to_upper(take_word(rest));
  rest = skip_space(rest);
  if (rest.empty() && name != "CMD" && name != "ENTRYPOINT" && !name.empty())
    return fail(ErrorKind::kInvalid, "%s requires at least one argument", name.substr(0, 32).c_str());
  if (name == "CMD") {
    set_command(config.cmd, config.shell, rest);
  } else if (name == "ENTRYPOINT") {
    set_command(config.entrypoint, config.shell, rest);
  } else if (name == "ENV") {
    return set_env(config, rest);
  } else if (name == "LABEL") {
    for (auto& [key, value] : TRY(pairs_of("LABEL", rest))) config.labels[key] = value;
  } else if (name == "EXPOSE") {
    return expose(config, rest);
  } else if (name == "HEALTHCHECK") {
    return set_health(config, rest);
  } else if (name == "ONBUILD") {
    std::string_view after = rest;
    std::string trigger = to_upper(take_word(after));
    if (trigger == "ONBUILD") return bad("ONBUILD", "may not be chained");
    if (trigger == "FROM" || trigger == "MAINTAINER")
      return fail(ErrorKind::kInvalid, "%s isn't allowed as an ONBUILD trigger", trigger.c_str());
    config.on_build.emplace_back(rest);
  } else if (name == "STOPSIGNAL") {
    config.stop_signal = TRY(single("STOPSIGNAL", rest));
  } else if (name == "USER") {
    config.user = TRY(single("USER", rest));
  } else if (name == "WORKDIR") {
    std::string path = TRY(single("WORKDIR", rest));
    std::string base = config.working_dir.empty() ? "/" : config.working_dir;
    config.working_dir = path.starts_with('/') ? path : base + (base.ends_with('/') ? "" : "/") + path;
  } else if (name == "VOLUME") {
    auto paths = json_words(rest);
    if (!paths) {
      paths.emplace();
      for (std::string_view word : words_of(rest)) paths->push_back(unquote(word));
    }
    for (const auto& path : *paths) {
      if (trim(path).empty()) return bad("VOLUME", "specified can not be an empty string");
      config.volumes[path];
    }
  } else {
    return fail(ErrorKind::kInvalid, "%s is not a valid change command", name.substr(0, 64).c_str());
  }
  return {};
}

}  // namespace caisson::build
