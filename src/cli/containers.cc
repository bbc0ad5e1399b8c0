// SPDX-License-Identifier: Apache-2.0
#include "cli/containers.h"

#include <ctime>

#include "base/clock.h"
#include "base/text.h"
#include "cli/units.h"

namespace caisson::cli {

Result<int> for_each_name(App& app, const std::vector<std::string>& names,
                          const std::function<Result<>(const std::string&)>& each) {
  std::string errors;
  for (const std::string& name : names) {
    auto done = each(name);
    if (done) {
      app.out.line(name);
      app.out.flush();
    } else {
      errors += (errors.empty() ? "" : "\n") + done.error().message;
    }
  }
  if (errors.empty()) return 0;
  app.complain(errors);
  return 1;
}

Result<JsonValue> inspect_container(App& app, const std::string& name) {
  auto response = TRY(app.engine().get("/containers/" + segment(name) + "/json"));
  return JsonValue::parse(response.body);
}

std::string filters_json(const std::vector<std::string>& filters) {
  JsonValue out = JsonValue::object();
  for (const std::string& filter : filters) {
    auto pair = split_once(filter, '=');
    std::string name(trim(pair ? to_lower(pair->first) : filter)), value(trim(pair ? pair->second : ""));
    JsonValue entry = out.at(name);
    entry.set(value, true);
    out.set(name, entry);
  }
  return out.members().empty() ? "" : out.dump();
}

std::string name_path(std::string_view name) {
  std::string out;
  // Colons and at signs stay as they are, as other clients send them.
  for (char c : name) {
    if (c == '/' || c == ':' || c == '@')
      out += c;
    else
      out += http::percent_encode(std::string_view(&c, 1));
  }
  return out;
}

std::string short_id(std::string_view id) {
  if (size_t colon = id.find(':'); colon != id.npos) id.remove_prefix(colon + 1);
  return std::string(id.substr(0, 12));
}

int64_t unix_seconds(const std::string& rfc3339) {
  auto ns = parse_rfc3339(rfc3339);
  return ns ? *ns / 1000000000 : 0;
}

std::string local_time_text(int64_t seconds) {
  time_t value = static_cast<time_t>(seconds);
  tm parts{};
  localtime_r(&value, &parts);
  char text[64];
  size_t size = strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z %Z", &parts);
  return {text, size};
}

std::string age_text(int64_t seconds) { return human_duration(now_ns() / 1000000000 - seconds) + " ago"; }

}  // namespace caisson::cli
