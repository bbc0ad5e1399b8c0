// SPDX-License-Identifier: Apache-2.0
#include "manager.h"

#include <stdlib.h>
#include <unistd.h>

#include <cstring>

#include "base/clock.h"
#include "base/text.h"

namespace caisson::systemd {

namespace {

constexpr const char* kService = "org.freedesktop.systemd1";
constexpr const char* kPath = "/org/freedesktop/systemd1";
constexpr const char* kInterface = "org.freedesktop.systemd1.Manager";
constexpr int64_t kPatience = 30'000'000'000;

class BusError {
 public:
  ~BusError() { sd_bus_error_free(&error); }
  bool is(const char* name) const { return sd_bus_error_has_name(&error, name); }
  std::string text(int code) const { return error.message ? error.message : errno_text(-code); }
  sd_bus_error error = SD_BUS_ERROR_NULL;
};

class Message {
 public:
  ~Message() { sd_bus_message_unref(message); }
  sd_bus_message* message = nullptr;
};

std::unexpected<Error> call_failed(const char* what, const std::string& unit, const BusError& error, int code) {
  ErrorKind kind = error.is("org.freedesktop.systemd1.UnitExists")   ? ErrorKind::kExists
                   : error.is("org.freedesktop.systemd1.NoSuchUnit") ? ErrorKind::kNotFound
                   : error.is("org.freedesktop.DBus.Error.AccessDenied") || code == -EACCES || code == -EPERM
                       ? ErrorKind::kDenied
                       : ErrorKind::kInternal;
  return fail(kind, "%s unit '%s': %s", what, unit.c_str(), error.text(code).c_str());
}

int append_value(sd_bus_message* message, char type, const std::string& text) {
  switch (type) {
    case 's': return sd_bus_message_append_basic(message, type, text.c_str());
    case 'b': {
      int value = text == "1";
      return sd_bus_message_append_basic(message, type, &value);
    }
    case 'd': {
      double value = strtod(text.c_str(), nullptr);
      return sd_bus_message_append_basic(message, type, &value);
    }
    case 't': {
      auto value = parse_uint(text);
      return value ? sd_bus_message_append_basic(message, type, &*value) : -EINVAL;
    }
    case 'u':
    case 'q':
    case 'y': {
      auto value = parse_uint(text);
      if (!value) return -EINVAL;
      auto u = static_cast<uint32_t>(*value);
      auto q = static_cast<uint16_t>(*value);
      auto y = static_cast<uint8_t>(*value);
      return sd_bus_message_append_basic(message, type,
                                         type == 'u'   ? static_cast<void*>(&u)
                                         : type == 'q' ? static_cast<void*>(&q)
                                                       : &y);
    }
    default: {
      auto value = parse_int(text);
      if (!value) return -EINVAL;
      auto i = static_cast<int32_t>(*value);
      auto n = static_cast<int16_t>(*value);
      return sd_bus_message_append_basic(message, type,
                                         type == 'x'   ? static_cast<void*>(&*value)
                                         : type == 'i' ? static_cast<void*>(&i)
                                                       : &n);
    }
  }
}

int append_property(sd_bus_message* message, const Property& property) {
  const char element[] = {property.type, 0};
  const std::string signature = property.array ? std::string("a") + element : element;
  int r = sd_bus_message_open_container(message, 'r', "sv");
  if (r >= 0) r = sd_bus_message_append_basic(message, 's', property.name.c_str());
  if (r >= 0) r = sd_bus_message_open_container(message, 'v', signature.c_str());
  if (r >= 0 && property.array) r = sd_bus_message_open_container(message, 'a', element);
  for (const auto& value : property.values)
    if (r >= 0) r = append_value(message, property.type, value);
  if (r >= 0 && property.array) r = sd_bus_message_close_container(message);
  if (r >= 0) r = sd_bus_message_close_container(message);
  if (r >= 0) r = sd_bus_message_close_container(message);
  return r;
}

Result<> append_properties(sd_bus_message* message, const std::vector<Property>& properties) {
  int r = sd_bus_message_open_container(message, 'a', "(sv)");
  for (const auto& property : properties) {
    if (r >= 0) r = append_property(message, property);
    if (r < 0) return fail_errno_of(-r, "property '%s'", property.name.c_str());
  }
  if (r >= 0) r = sd_bus_message_close_container(message);
  if (r < 0) return fail_errno_of(-r, "properties");
  return {};
}

// The manager's own socket: no daemon in between, there before the bus is, and it tells every job's end.
sd_bus* connect_directly(const std::string& socket) {
  sd_bus* bus = nullptr;
  if (access(socket.c_str(), W_OK) < 0 || sd_bus_new(&bus) < 0) return nullptr;
  if (sd_bus_set_address(bus, ("unix:path=" + socket).c_str()) >= 0 && sd_bus_start(bus) >= 0) return bus;
  sd_bus_unref(bus);
  return nullptr;
}

}  // namespace

Result<Manager> Manager::connect(bool user) {
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  std::string socket = user ? (runtime ? std::string(runtime) + "/systemd/private" : "") : "/run/systemd/private";
  sd_bus* bus = socket.empty() ? nullptr : connect_directly(socket);
  if (!bus) {
    int r = user ? sd_bus_open_user(&bus) : sd_bus_open_system(&bus);
    if (r < 0)
      return fail(ErrorKind::kUnavailable, "no connection to %s manager: %s", user ? "the user's" : "the system's",
                  errno_text(-r).c_str());
  }
  Manager manager(bus);
  BusError error;
  // Over the bus signals come only to those who said that they listen; the private socket knows no such call.
  int r = sd_bus_call_method(bus, kService, kPath, kInterface, "Subscribe", &error.error, nullptr, "");
  (void)r;
  return manager;
}

Manager::Manager(Manager&& other) noexcept : bus_(other.bus_), ended_(std::move(other.ended_)) { other.bus_ = nullptr; }

Manager::~Manager() {
  if (bus_) sd_bus_flush_close_unref(bus_);
}

int Manager::on_job_removed(sd_bus_message* message, void* self, sd_bus_error*) {
  uint32_t id = 0;
  const char *job = nullptr, *unit = nullptr, *result = nullptr;
  if (sd_bus_message_read(message, "uoss", &id, &job, &unit, &result) >= 0)
    static_cast<Manager*>(self)->ended_.push_back({job, result});
  return 0;
}

Result<std::string> Manager::wait_for(const std::string& job) {
  int64_t deadline = monotonic_ns() + kPatience;
  for (;;) {
    for (const auto& ended : ended_)
      if (ended.job == job) return ended.result;
    int r = sd_bus_process(bus_, nullptr);
    if (r < 0) return fail(ErrorKind::kUnavailable, "the connection to systemd broke: %s", errno_text(-r).c_str());
    if (r > 0) continue;
    int64_t left = deadline - monotonic_ns();
    if (left <= 0) return fail(ErrorKind::kTimeout, "systemd did not finish the job within 30 s");
    r = sd_bus_wait(bus_, static_cast<uint64_t>(left / 1000));
    if (r < 0 && r != -EINTR)
      return fail(ErrorKind::kUnavailable, "the connection to systemd broke: %s", errno_text(-r).c_str());
  }
}

void Manager::reset_failed(const std::string& unit) {
  BusError error;
  (void)sd_bus_call_method(bus_, kService, kPath, kInterface, "ResetFailedUnit", &error.error, nullptr, "s",
                           unit.c_str());
}

Result<> Manager::start_once(const std::string& unit, const std::vector<Property>& properties) {
  Message call, reply;
  int r = sd_bus_message_new_method_call(bus_, &call.message, kService, kPath, kInterface, "StartTransientUnit");
  if (r >= 0) r = sd_bus_message_append(call.message, "ss", unit.c_str(), "replace");
  if (r < 0) return fail_errno_of(-r, "StartTransientUnit");
  TRY(append_properties(call.message, properties));
  r = sd_bus_message_append(call.message, "a(sa(sv))", 0);
  BusError error;
  if (r >= 0)
    r = sd_bus_call(bus_, call.message, static_cast<uint64_t>(kPatience / 1000), &error.error, &reply.message);
  if (r < 0) return call_failed("start", unit, error, r);
  const char* job = nullptr;
  if ((r = sd_bus_message_read(reply.message, "o", &job)) < 0) return fail_errno_of(-r, "StartTransientUnit's answer");
  auto result = TRY(wait_for(job));
  if (result == "done") return {};
  reset_failed(unit);
  return fail(ErrorKind::kInternal, "start unit '%s': the job ended as '%s'", unit.c_str(), result.c_str());
}

Result<> Manager::start(const std::string& unit, const std::vector<Property>& properties) {
  int r =
      sd_bus_add_match(bus_, nullptr, "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
                       on_job_removed, this);
  if (r < 0) return fail_errno_of(-r, "listen for jobs");
  auto started = start_once(unit, properties);
  if (started || started.error().kind != ErrorKind::kExists) return started;
  // It may only be the remembrance of one that failed.
  reset_failed(unit);
  return start_once(unit, properties);
}

Result<> Manager::stop(const std::string& unit) {
  int r =
      sd_bus_add_match(bus_, nullptr, "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
                       on_job_removed, this);
  if (r < 0) return fail_errno_of(-r, "listen for jobs");
  BusError error;
  Message reply;
  r = sd_bus_call_method(bus_, kService, kPath, kInterface, "StopUnit", &error.error, &reply.message, "ss",
                         unit.c_str(), "replace");
  if (r < 0) {
    auto failed = call_failed("stop", unit, error, r);
    if (failed.error().kind == ErrorKind::kNotFound) return {};
    return failed;
  }
  const char* job = nullptr;
  if ((r = sd_bus_message_read(reply.message, "o", &job)) < 0) return fail_errno_of(-r, "StopUnit's answer");
  TRY(wait_for(job));
  reset_failed(unit);
  return {};
}

Result<> Manager::set_properties(const std::string& unit, const std::vector<Property>& properties) {
  Message call;
  int r = sd_bus_message_new_method_call(bus_, &call.message, kService, kPath, kInterface, "SetUnitProperties");
  if (r >= 0) r = sd_bus_message_append(call.message, "sb", unit.c_str(), 1);
  if (r < 0) return fail_errno_of(-r, "SetUnitProperties");
  TRY(append_properties(call.message, properties));
  BusError error;
  r = sd_bus_call(bus_, call.message, static_cast<uint64_t>(kPatience / 1000), &error.error, nullptr);
  if (r < 0) return call_failed("set properties of", unit, error, r);
  return {};
}

Result<> Manager::attach(const std::string& unit, uint32_t pid) {
  BusError error;
  int r = sd_bus_call_method(bus_, kService, kPath, kInterface, "AttachProcessesToUnit", &error.error, nullptr, "ssau",
                             unit.c_str(), "/", 1, pid);
  if (r < 0) return call_failed("move a process into", unit, error, r);
  return {};
}

Result<std::string> Manager::control_group(const std::string& unit) {
  char* path = nullptr;
  if (int r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit.c_str(), &path); r < 0)
    return fail_errno_of(-r, "unit's path");
  char* text = nullptr;
  BusError error;
  const char* interface =
      unit.ends_with(".slice") ? "org.freedesktop.systemd1.Slice" : "org.freedesktop.systemd1.Scope";
  int r = sd_bus_get_property_string(bus_, kService, path, interface, "ControlGroup", &error.error, &text);
  free(path);
  if (r < 0) return call_failed("look at", unit, error, r);
  std::string out = text;
  free(text);
  if (out.empty()) return fail(ErrorKind::kInternal, "unit '%s' has no cgroup", unit.c_str());
  return out;
}

}  // namespace caisson::systemd
