// SPDX-License-Identifier: Apache-2.0
#include "cli/containers.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <thread>

#include "base/clock.h"
#include "base/text.h"
#include "cli/units.h"

namespace caisson::cli {

static constexpr size_t kMaxAtOnce = 50;

std::vector<Result<>> run_for_all(App& app, const std::vector<std::string>& names,
                                  const std::function<Result<>(Engine&, const std::string&)>& each) {
  std::vector<Result<>> outcomes(names.size());
  if (names.size() == 1) {
    outcomes[0] = each(app.engine(), names[0]);
    return outcomes;
  }
  std::atomic<size_t> next = 0;
  auto work = [&] {
    Engine engine(app.options, app.environment);
    for (size_t i; (i = next++) < names.size();) outcomes[i] = each(engine, names[i]);
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min(kMaxAtOnce, names.size()); ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

Result<int> print_outcomes(App& app, const std::vector<std::string>& names, const std::vector<Result<>>& outcomes) {
  std::string errors;
  for (size_t i = 0; i < names.size(); ++i) {
    if (outcomes[i])
      app.out.line(names[i]);
    else
      errors += (errors.empty() ? "" : "\n") + outcomes[i].error().message;
  }
  if (errors.empty()) return 0;
  app.complain(errors);
  return 1;
}

Result<int> remove_objects(App& app, const std::vector<std::string>& names, std::string_view path,
                           const http::Query& query) {
  auto outcomes = run_for_all(app, names, [&](Engine& engine, const std::string& name) -> Result<> {
    TRY(engine.call("DELETE", std::string(path) + name_path(name), query));
    return {};
  });
  return print_outcomes(app, names, outcomes);
}

JsonValue string_map(const std::vector<std::string>& pairs) {
  JsonValue out = JsonValue::object();
  for (const std::string& text : pairs) {
    auto pair = split_once(text, '=');
    out.set(pair ? pair->first : text, pair ? pair->second : "");
  }
  return out;
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
