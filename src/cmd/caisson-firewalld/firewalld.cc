// SPDX-License-Identifier: Apache-2.0
#include "firewalld.h"

#include <cerrno>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/text.h"

namespace caisson::firewalld {

namespace {

constexpr const char* kService = "org.fedoraproject.FirewallD1";
constexpr const char* kPath = "/org/fedoraproject/FirewallD1";
constexpr const char* kConfigPath = "/org/fedoraproject/FirewallD1/config";
constexpr const char* kInterface = "org.fedoraproject.FirewallD1";
constexpr const char* kZones = "org.fedoraproject.FirewallD1.zone";
constexpr const char* kConfig = "org.fedoraproject.FirewallD1.config";
constexpr const char* kZone = "caisson";
constexpr const char* kPolicy = "caisson-forwarding";
constexpr uint64_t kPatienceUs = 60'000'000;  // firewalld answers nobody while it loads

class Message {
 public:
  ~Message() { sd_bus_message_unref(message); }
  sd_bus_message* message = nullptr;
};

// One call: made, filled by `fill`, sent. The answer in `reply`.
template <typename Fill>
Result<> call(sd_bus* bus, const char* path, const char* interface, const char* member, Message& reply, Fill&& fill) {
  Message request;
  int r = sd_bus_message_new_method_call(bus, &request.message, kService, path, interface, member);
  if (r >= 0) r = sd_bus_message_set_auto_start(request.message, 0);
  if (r >= 0) r = fill(request.message);
  if (r < 0) return fail_errno_of(-r, "firewalld: %s", member);
  sd_bus_error error = SD_BUS_ERROR_NULL;
  r = sd_bus_call(bus, request.message, kPatienceUs, &error, &reply.message);
  if (r >= 0) return {};
  std::string why = error.message ? error.message : errno_text(-r);
  bool absent = sd_bus_error_has_name(&error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
                sd_bus_error_has_name(&error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
                sd_bus_error_has_name(&error, SD_BUS_ERROR_NO_REPLY);
  bool unknown = sd_bus_error_has_name(&error, SD_BUS_ERROR_UNKNOWN_METHOD);
  sd_bus_error_free(&error);
  ErrorKind kind = absent                             ? ErrorKind::kUnavailable
                   : unknown                          ? ErrorKind::kUnsupported
                   : why.starts_with("NAME_CONFLICT") ? ErrorKind::kExists
                                                      : ErrorKind::kInternal;
  return fail(kind, "firewalld: %s: %s", member, why.c_str());
}

int nothing(sd_bus_message*) { return 0; }

int append_text(sd_bus_message* message, const char* key, const char* value) {
  return sd_bus_message_append(message, "{sv}", key, "s", value);
}

int append_zone(sd_bus_message* message) {
  int r = sd_bus_message_append(message, "s", kZone);
  if (r >= 0) r = sd_bus_message_open_container(message, 'a', "{sv}");
  if (r >= 0) r = append_text(message, "version", "1.0");
  if (r >= 0) r = append_text(message, "short", kZone);
  if (r >= 0) r = append_text(message, "description", "bridges of containers, filtered by the rules of their engine");
  if (r >= 0) r = append_text(message, "target", "ACCEPT");
  return r < 0 ? r : sd_bus_message_close_container(message);
}

int append_policy(sd_bus_message* message) {
  int r = sd_bus_message_append(message, "s", kPolicy);
  if (r >= 0) r = sd_bus_message_open_container(message, 'a', "{sv}");
  if (r >= 0) r = append_text(message, "version", "1.0");
  if (r >= 0) r = append_text(message, "short", kPolicy);
  if (r >= 0)
    r = append_text(message, "description", "forwarding to containers, filtered by the rules of their engine");
  if (r >= 0) r = sd_bus_message_append(message, "{sv}", "ingress_zones", "as", 1, "ANY");
  if (r >= 0) r = sd_bus_message_append(message, "{sv}", "egress_zones", "as", 1, kZone);
  if (r >= 0) r = append_text(message, "target", "ACCEPT");
  return r < 0 ? r : sd_bus_message_close_container(message);
}

}  // namespace

Result<Firewalld> Firewalld::connect() {
  sd_bus* bus = nullptr;
  if (int r = sd_bus_open_system(&bus); r < 0)
    return fail(ErrorKind::kUnavailable, "firewalld: no connection to the system bus: %s", errno_text(-r).c_str());
  return Firewalld(bus);
}

Firewalld::Firewalld(Firewalld&& other) noexcept : bus_(other.bus_) { other.bus_ = nullptr; }

Firewalld::~Firewalld() {
  if (bus_) sd_bus_flush_close_unref(bus_);
}

int Firewalld::on_news(sd_bus_message* message, void* self, sd_bus_error*) {
  if (sd_bus_message_is_signal(message, "org.freedesktop.DBus", "NameOwnerChanged")) {
    const char *name = nullptr, *before = nullptr, *now = nullptr;
    if (sd_bus_message_read(message, "sss", &name, &before, &now) < 0 || !*now) return 0;
  }
  static_cast<Firewalld*>(self)->news_ = true;
  return 0;
}

// Here and not in connect(): the matches know this object's place.
Result<> Firewalld::listen() {
  for (const char* match : {"type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                            "member='NameOwnerChanged',arg0='org.fedoraproject.FirewallD1'",
                            "type='signal',sender='org.fedoraproject.FirewallD1',"
                            "interface='org.fedoraproject.FirewallD1',member='Reloaded'"})
    if (int r = sd_bus_add_match(bus_, nullptr, match, on_news, this); r < 0)
      return fail_errno_of(-r, "firewalld: listen on the bus");
  return {};
}

Result<bool> Firewalld::take_news() {
  if (!listening_) TRY(listen());
  listening_ = true;
  for (;;) {
    int r = sd_bus_process(bus_, nullptr);
    if (r < 0) return fail(ErrorKind::kUnavailable, "firewalld: the bus is gone: %s", errno_text(-r).c_str());
    if (r == 0) break;
  }
  return std::exchange(news_, false);
}

Result<bool> Firewalld::is_running() {
  Message reply;
  sd_bus_error error = SD_BUS_ERROR_NULL;
  int r = sd_bus_call_method(bus_, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                             "NameHasOwner", &error, &reply.message, "s", kService);
  std::string why = error.message ? error.message : errno_text(-r);
  sd_bus_error_free(&error);
  int owned = 0;
  if (r >= 0) r = sd_bus_message_read(reply.message, "b", &owned);
  if (r < 0) return fail(ErrorKind::kUnavailable, "firewalld: ask the bus: %s", why.c_str());
  return owned != 0;
}

Result<bool> Firewalld::has_zone() {
  Message reply;
  TRY(call(bus_, kPath, kZones, "getZones", reply, nothing));
  int r = sd_bus_message_enter_container(reply.message, 'a', "s");
  const char* name = nullptr;
  bool found = false;
  while (r >= 0 && (r = sd_bus_message_read(reply.message, "s", &name)) > 0)
    found = found || std::string_view(name) == kZone;
  if (r < 0) return fail_errno_of(-r, "firewalld: getZones' answer");
  return found;
}

Result<> Firewalld::ensure_zone() {
  if (TRY(has_zone())) return {};
  // Once: an administrator who takes the zone away again is not argued with.
  if (made_zone_) return fail(ErrorKind::kNotFound, "firewalld: zone '%s' is gone", kZone);
  Message ignored[3];
  auto zone = call(bus_, kConfigPath, kConfig, "addZone2", ignored[0], append_zone);
  if (!zone && zone.error().kind != ErrorKind::kExists) return zone;
  // Old releases know no policies, and forward what no zone forbids.
  auto policy = call(bus_, kConfigPath, kConfig, "addPolicy", ignored[1], append_policy);
  if (!policy && policy.error().kind != ErrorKind::kExists && policy.error().kind != ErrorKind::kUnsupported)
    log_warn("%s, ignoring", policy.error().message.c_str());
  made_zone_ = true;
  log_info("firewalld: made zone '%s' and policy '%s', loading its configuration again", kZone, kPolicy);
  TRY(call(bus_, kPath, kInterface, "reload", ignored[2], nothing));
  if (TRY(has_zone())) return {};
  return fail(ErrorKind::kNotFound, "firewalld: zone '%s' is not there after a reload", kZone);
}

Result<std::string> Firewalld::zone_of(const std::string& interface) {
  Message reply;
  TRY(call(bus_, kPath, kZones, "getZoneOfInterface", reply,
           [&](sd_bus_message* message) { return sd_bus_message_append(message, "s", interface.c_str()); }));
  const char* name = nullptr;
  if (int r = sd_bus_message_read(reply.message, "s", &name); r < 0)
    return fail_errno_of(-r, "firewalld: getZoneOfInterface's answer");
  return std::string(name);
}

Result<> Firewalld::add(const std::string& interface) {
  auto zone = TRY(zone_of(interface));
  if (zone == kZone) return {};
  if (!zone.empty()) {
    if (foreign_.insert(interface).second)
      log_info("firewalld: bridge '%s' is in zone '%s' already and stays there", interface.c_str(), zone.c_str());
    return {};
  }
  Message ignored;
  return call(bus_, kPath, kZones, "addInterface", ignored,
              [&](sd_bus_message* message) { return sd_bus_message_append(message, "ss", kZone, interface.c_str()); });
}

Result<> Firewalld::remove(const std::string& interface) {
  foreign_.erase(interface);
  if (TRY(zone_of(interface)) != kZone) return {};
  Message ignored;
  return call(bus_, kPath, kZones, "removeInterface", ignored,
              [&](sd_bus_message* message) { return sd_bus_message_append(message, "ss", kZone, interface.c_str()); });
}

}  // namespace caisson::firewalld
