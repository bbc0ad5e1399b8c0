// SPDX-License-Identifier: Apache-2.0
#include "engine/cni_networks.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <shared_mutex>

#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "engine/cni_ports.h"
#include "sys/files.h"
#include "sys/mount.h"
#include "sys/netns.h"
#include "sys/raw_calls.h"
#include "wire/digest.h"
#include "wire/json.h"

namespace caisson::engine {

namespace {

NetworkRecordPtr record_of(const CniList& list) {
  auto record = std::make_shared<NetworkRecord>();
  record->name = list.name;
  record->id = network_id_of("cni " + list.name);
  record->driver = kCniDriver;
  record->ipam.driver = "cni";
  for (const auto& [subnet, gateway] : list.subnets) {
    record->ipam.config.emplace_back();
    record->ipam.config.back().subnet = subnet;
    record->ipam.config.back().gateway = gateway;
  }
  std::vector<std::string> types;
  for (const auto& plugin : list.plugins) types.push_back(plugin.type);
  record->options = {{"cni.file", list.file}, {"cni.plugins", join(types, ",")}, {"cni.version", list.version}};
  return record;
}

std::string runtime_config(const CniPlugin& plugin, const CniAttachment& attachment) {
  std::string out;
  json::Writer writer(out);
  writer.begin_object();
  bool any = false;
  for (const auto& [capability, text] : attachment.runtime) {
    if (!plugin.capabilities.contains(capability)) continue;
    writer.key(capability);
    writer.raw(text);
    any = true;
  }
  writer.end_object();
  return any ? out : "";
}

CniMembers members_for(const CniPlugin& plugin, const CniAttachment& attachment, const std::string& previous) {
  CniMembers members;
  if (auto config = runtime_config(plugin, attachment); !config.empty()) members["runtimeConfig"] = config;
  if (!previous.empty()) members["prevResult"] = previous;
  return members;
}

CniCall call_of(const char* command, const std::string& container_id, const CniAttachment& attachment) {
  return {command, container_id, attachment.netns, attachment.interface, attachment.args, ""};
}

// By capability where a plugin has it, otherwise in the way of before there were capabilities.
void ask_for_addresses(const CniList& list, const CniRequest& request, CniAttachment& attachment) {
  std::string args;
  if (!request.addresses.empty()) {
    if (list.has_capability("ips"))
      attachment.runtime["ips"] = json::encode(request.addresses);
    else
      args += ";IP=" + request.addresses[0];
  }
  if (!request.mac.empty()) {
    if (list.has_capability("mac"))
      attachment.runtime["mac"] = json::quote(request.mac);
    else
      args += ";MAC=" + request.mac;
  }
  if (!args.empty()) attachment.args = "IgnoreUnknown=1" + args;
}

Result<> check_wishes(const CniRequest& request, const CniResult& result) {
  for (const auto& wanted : request.addresses)
    if (std::none_of(result.addresses.begin(), result.addresses.end(),
                     [&](const auto& given) { return given.address == wanted; }))
      return fail(ErrorKind::kInvalid, "network %s: its plugins did not give the address %s", request.network.c_str(),
                  wanted.substr(0, 64).c_str());
  if (!request.mac.empty() && !result.mac.empty() && !equals_ignore_case(request.mac, result.mac))
    return fail(ErrorKind::kInvalid, "network %s: its plugins did not give the MAC address %s", request.network.c_str(),
                request.mac.substr(0, 32).c_str());
  return {};
}

CniEndpoint endpoint_of(const CniRequest& request, const CniResult& result,
                        const std::vector<network::PortMapping>& ports) {
  CniEndpoint out;
  auto& endpoint = out.endpoint;
  endpoint.container_id = request.container_id;
  endpoint.network_id = network_id_of("cni " + request.network);
  endpoint.interface = result.host_interface;
  endpoint.inside = request.interface;
  endpoint.mac = result.mac;
  if (const auto* address = result.first(false)) {
    endpoint.address = address->address;
    endpoint.prefix = address->prefix;
    if (result.default_route) endpoint.gateway = address->gateway;
  }
  if (const auto* address = result.first(true)) {
    endpoint.address6 = address->address;
    endpoint.prefix6 = address->prefix;
    if (result.default_route6) endpoint.gateway6 = address->gateway;
  }
  endpoint.ports = ports;
  for (auto& port : endpoint.ports)
    if (port.host_ip.empty()) port.host_ip = "0.0.0.0";
  out.name_servers = result.name_servers;
  out.search = result.search;
  return out;
}

std::string port_text(const network::PortMapping& port) {
  return format("%s/%u/%s/%u", port.protocol.c_str(), port.container_port, port.host_ip.c_str(), port.host_port);
}

}  // namespace

struct CniNetworks::Locks {
  std::shared_mutex garbage;  // a collection sees no attachment come into being
  std::mutex data;
};

static CniNetworks::Config stopped_by(CniNetworks::Config config, int stop) {
  config.runner.stop = stop;
  return config;
}

CniNetworks::CniNetworks(Config config)
    : stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      config_(stopped_by(std::move(config), stop_.get())),
      store_(config_.state_dir),
      locks_(std::make_unique<Locks>()) {}
CniNetworks::~CniNetworks() = default;

void CniNetworks::stop() {
  uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof one);
}

std::vector<CniList> CniNetworks::lists() {
  if (!config_.enabled) return {};
  std::vector<std::string> problems;
  auto lists = load_cni_directory(config_.conf_dir, problems);
  std::lock_guard lock(locks_->data);
  if (problems != problems_)
    for (const auto& problem : problems) log_warn("CNI configuration: %s", problem.c_str());
  problems_ = std::move(problems);
  return lists;
}

std::vector<NetworkRecordPtr> CniNetworks::list() {
  std::vector<NetworkRecordPtr> out;
  for (const auto& list : lists()) out.push_back(record_of(list));
  return out;
}

Result<CniList> CniNetworks::find(const std::string& name) {
  for (auto& list : lists())
    if (list.name == name) return std::move(list);
  return fail(ErrorKind::kNotFound, "network %s not found", name.c_str());
}

// --- plugins --------------------------------------------------------------------------------------------

Result<std::string> CniNetworks::run(const CniList& list, const CniPlugin& plugin, const CniCall& call,
                                     CniMembers members) {
  CniCall whole = call;
  whole.input = cni_plugin_input(list, plugin, std::move(members));
  return TRY_CTX(config_.runner.run(plugin.type, whole),
                 "network " + list.name + ": " + call.command + " of CNI plugin '" + plugin.type + "'");
}

Result<> CniNetworks::ask_status(const CniList& list) {
  if (!list.at_least("1.1.0")) return {};
  for (const auto& plugin : list.plugins) TRY(run(list, plugin, {"STATUS", "", "", "", "", ""}, {}));
  return {};
}

Result<CniResult> CniNetworks::add(const CniList& list, const std::string& container_id, CniAttachment& attachment) {
  std::string previous;
  CniResult result;
  for (const auto& plugin : list.plugins) {
    auto said =
        TRY(run(list, plugin, call_of("ADD", container_id, attachment), members_for(plugin, attachment, previous)));
    auto parsed = parse_cni_result(said, attachment.interface);
    if (!parsed)
      return fail(ErrorKind::kInternal, "network %s: the result of CNI plugin '%s' cannot be used: %s",
                  list.name.c_str(), plugin.type.c_str(), cni_one_line(parsed.error().message).c_str());
    previous = std::move(said);
    result = std::move(*parsed);
  }
  attachment.result = std::move(previous);
  return result;
}

// Every plugin is asked, whatever the others say; the first complaint is told.
Result<> CniNetworks::undo(const std::string& container_id, const CniAttachment& attachment) {
  auto list = TRY(parse_cni_list(attachment.list));
  auto call = call_of("DEL", container_id, attachment);
  // Gone with the host's last run, or with the container: plugins free what is outside of it then.
  auto netns = sys::open_file(call.netns, O_RDONLY);
  if (!netns || !sys::is_network_namespace(netns->get())) call.netns.clear();
  Result<> outcome;
  for (auto plugin = list.plugins.rbegin(); plugin != list.plugins.rend(); ++plugin) {
    auto done =
        run(list, *plugin, call, members_for(*plugin, attachment, list.at_least("0.4.0") ? attachment.result : ""));
    if (!done && outcome) outcome = std::unexpected(done.error());
  }
  return outcome;
}

// --- attachments ----------------------------------------------------------------------------------------

Result<CniEndpoint> CniNetworks::attach(const CniRequest& request) {
  auto list = TRY(find(request.network));
  for (const auto& plugin : list.plugins)
    TRY_CTX(config_.runner.find(plugin.type), "network " + list.name + ": CNI plugin '" + plugin.type + "'");
  if (!request.ports.empty() && !list.has_capability("portMappings"))
    return fail(ErrorKind::kInvalid,
                "network %s cannot publish ports: none of its CNI plugins has the capability portMappings",
                list.name.c_str());
  auto ports = request.ports;
  auto sockets = TRY(hold_cni_ports(ports));

  CniAttachment attachment;
  attachment.network = list.name;
  attachment.interface = request.interface;
  attachment.list = list.encode();
  auto others = store_.of(request.container_id);
  attachment.order = others.empty() ? 0 : others.back().order + 1;
  ask_for_addresses(list, request, attachment);
  if (!ports.empty()) attachment.runtime["portMappings"] = cni_port_mappings(ports);
  for (const auto& port : ports) attachment.ports.push_back(port_text(port));

  std::shared_lock no_garbage(locks_->garbage);
  TRY(ask_status(list));
  attachment.netns = TRY(bind_netns(request.container_id, request.netns));
  Rollback undo_all;
  undo_all.add([&] {
    if (!store_.has(request.container_id)) unbind_netns(request.container_id);
  });
  // Before the plugins know: an engine that finds this has it undone.
  TRY(store_.save(request.container_id, attachment));
  undo_all.add([&] {
    auto undone = undo(request.container_id, attachment);
    if (undone) undone = store_.remove(request.container_id, attachment.interface);
    if (!undone) log_warn("container %s: %s", request.container_name.c_str(), undone.error().message.c_str());
  });
  auto result = TRY(add(list, request.container_id, attachment));
  TRY(check_wishes(request, result));
  TRY(store_.save(request.container_id, attachment));
  undo_all.commit();
  hold_ports(request.container_id, request.interface, std::move(sockets));
  return endpoint_of(request, result, ports);
}

Result<> CniNetworks::disconnect(const std::string& container_id, const std::string& network) {
  for (const auto& attachment : store_.of(container_id)) {
    if (attachment.network != network) continue;
    TRY(undo(container_id, attachment));
    TRY(store_.remove(container_id, attachment.interface));
    hold_ports(container_id, attachment.interface, {});
  }
  if (!store_.has(container_id)) unbind_netns(container_id);
  return {};
}

void CniNetworks::detach(const std::string& container_id, const std::set<std::string>& keep) {
  if (!store_.has(container_id)) return;
  auto attachments = store_.of(container_id);
  std::reverse(attachments.begin(), attachments.end());
  for (const auto& attachment : attachments) {
    if (keep.contains(attachment.interface)) continue;
    auto undone = undo(container_id, attachment);
    if (undone) undone = store_.remove(container_id, attachment.interface);
    if (!undone) log_warn("container %s: %s", container_id.substr(0, 12).c_str(), undone.error().message.c_str());
    hold_ports(container_id, attachment.interface, {});
  }
  if (keep.empty()) unbind_netns(container_id);
}

void CniNetworks::restore(const std::string& container_id) {
  for (const auto& attachment : store_.of(container_id)) {
    std::vector<network::PortMapping> ports;
    for (const auto& text : attachment.ports) {
      auto parts = split(text, '/');
      if (parts.size() != 4) continue;
      auto inner = parse_uint(parts[1]), outer = parse_uint(parts[3]);
      if (!inner || !outer || *inner > 65535 || *outer > 65535) continue;
      ports.push_back({parts[0], static_cast<uint16_t>(*inner), parts[2], static_cast<uint16_t>(*outer)});
    }
    auto sockets = hold_cni_ports(ports);
    // The plugin's rules come before any socket: the container keeps the port.
    if (!sockets)
      log_warn("container %s: %s, ignoring", container_id.substr(0, 12).c_str(), sockets.error().message.c_str());
    else
      hold_ports(container_id, attachment.interface, std::move(*sockets));
  }
}

void CniNetworks::check(const std::string& container_id) {
  for (const auto& attachment : store_.of(container_id)) {
    auto list = parse_cni_list(attachment.list);
    if (!list || list->disable_check || !list->at_least("0.4.0") || attachment.result.empty()) continue;
    for (const auto& plugin : list->plugins) {
      auto checked = run(*list, plugin, call_of("CHECK", container_id, attachment),
                         members_for(plugin, attachment, attachment.result));
      if (!checked) log_error("container %s: %s", container_id.substr(0, 12).c_str(), checked.error().message.c_str());
    }
  }
}

void CniNetworks::collect_garbage() {
  auto all = lists();
  std::erase_if(all, [](const CniList& list) { return list.disable_gc || !list.at_least("1.1.0"); });
  if (all.empty()) return;
  std::unique_lock alone(locks_->garbage);
  std::map<std::string, std::string> valid;  // of each network: its attachments, as JSON
  for (const auto& id : store_.containers())
    for (const auto& attachment : store_.of(id)) {
      auto& text = valid[attachment.network];
      text += (text.empty() ? "" : ",") + ("{\"containerID\":" + json::quote(id)) +
              ",\"ifname\":" + json::quote(attachment.interface) + "}";
    }
  for (const auto& list : all)
    for (const auto& plugin : list.plugins) {
      auto done =
          run(list, plugin, {"GC", "", "", "", "", ""}, {{"cni.dev/valid-attachments", "[" + valid[list.name] + "]"}});
      if (!done) log_warn("%s, ignoring", done.error().message.c_str());
    }
}

// --- what is held ---------------------------------------------------------------------------------------

// A path that stays the same over engine restarts, as plugins compare it, and that others on the host find.
Result<std::string> CniNetworks::bind_netns(const std::string& container_id, int netns) {
  std::string path = config_.netns_dir + "/" + container_id;
  struct stat ours {
  }, there{};
  if (fstat(netns, &ours) < 0) return fail_errno("fstat");
  if (stat(path.c_str(), &there) == 0) {
    if (there.st_ino == ours.st_ino && there.st_dev == ours.st_dev) return path;
    unbind_netns(container_id);
  }
  TRY(sys::make_dirs(config_.netns_dir, 0711));
  TRY(sys::open_file(path, O_RDONLY | O_CREAT | O_EXCL, 0444));
  Rollback undo;
  undo.add([&] { (void)sys::remove_file(path); });
  auto mount = TRY(sys::clone_mount(AT_FDCWD, format("/proc/self/fd/%d", netns), false));
  TRY(sys::attach_mount(mount.get(), AT_FDCWD, path));
  undo.commit();
  return path;
}

void CniNetworks::unbind_netns(const std::string& container_id) {
  std::string path = config_.netns_dir + "/" + container_id;
  while (sys::raw::detach_mount(path.c_str()) == 0) continue;
  if (auto gone = sys::remove_file(path); !gone) log_warn("%s", gone.error().message.c_str());
}

void CniNetworks::hold_ports(const std::string& container_id, const std::string& interface,
                             std::vector<UniqueFd> sockets) {
  std::lock_guard lock(locks_->data);
  if (sockets.empty())
    held_ports_.erase(container_id + "/" + interface);
  else
    held_ports_[container_id + "/" + interface] = std::move(sockets);
}

}  // namespace caisson::engine
