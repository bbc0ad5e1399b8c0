// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include "engine/health.h"

#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mutex>
#include <set>
#include <thread>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/text.h"
#include "engine/create_defaults.h"
#include "engine/create_rules.h"
#include "engine/host_resolver.h"
#include "engine/image_mounts.h"
#include "engine/links.h"
#include "engine/mount_plan.h"
#include "engine/names.h"
#include "engine/network_drivers.h"
#include "engine/network_links.h"
#include "engine/port_plan.h"
#include "engine/spec_builder.h"
#include "engine/update.h"
#include "image/storage_driver.h"
#include "spec/reference.h"
#include "sys/files.h"
#include "sys/project_quota.h"
#include "sys/read_only_program.h"
#include "wire/digest.h"

namespace caisson::engine {

// In the order of construction; destroyed backwards.
struct Engine::Parts {
  EngineOptions options;
  mutable std::mutex live_mutex;  // guards live
  std::shared_ptr<const LiveOptions> live;
  std::unique_ptr<Paths> paths;
  UniqueFd data_lock, exec_lock;
  UniqueFd monitor_program;
  std::string engine_id;
  std::string cgroup_parent;
  sys::CgroupSystem cgroups;
  std::unique_ptr<db::Database> database;
  std::unique_ptr<ContainerRegistry> containers;
  std::unique_ptr<image::ImageStore> images;
  std::unique_ptr<network::NetworkManager> network;
  std::unique_ptr<network::DnsClient> names;
  std::unique_ptr<CniNetworks> cni;
  std::unique_ptr<network::LanNetworks> lans;
  std::unique_ptr<NetworkDrivers> drivers;
  std::unique_ptr<NetworkStore> networks;
  std::unique_ptr<HostResolver> resolver;
  std::unique_ptr<volume::VolumeStore> volumes;
  std::unique_ptr<SecretStore> secrets;
  std::unique_ptr<runtime::SeccompCache> seccomp;
  EventHub events;
  std::unique_ptr<ExecManager> execs;
  std::unique_ptr<Lifecycle> lifecycle;
  std::unique_ptr<HealthChecks> health;
  std::unique_ptr<ContainerRoots> roots;
  std::unique_ptr<Services> services;
  std::unique_ptr<ImageGc> image_gc;
  HostFacts host;
  // Last, so that its tasks are done before anything they use goes.
  std::unique_ptr<Executor> executor;
};

Engine::Engine() : parts_(std::make_unique<Parts>()) {}
Engine::~Engine() {
  parts_->executor.reset();
  if (!parts_->images) return;
  if (auto written = parts_->images->write_uses(); !written) log_warn("%s, ignoring", written.error().message.c_str());
}

void Engine::begin_stop() { parts_->cni->stop(); }

const EngineOptions& Engine::options() const { return parts_->options; }

std::shared_ptr<const LiveOptions> Engine::live_options() const {
  std::lock_guard lock(parts_->live_mutex);
  return parts_->live;
}

void Engine::reload(const EngineOptions& fresh) {
  auto live = std::make_shared<const LiveOptions>(fresh.live());
  std::lock_guard lock(parts_->live_mutex);
  parts_->live = std::move(live);
}
const Paths& Engine::paths() const { return *parts_->paths; }
ContainerRegistry& Engine::containers() { return *parts_->containers; }
Lifecycle& Engine::lifecycle() { return *parts_->lifecycle; }
ExecManager& Engine::execs() { return *parts_->execs; }
ContainerRoots& Engine::roots() { return *parts_->roots; }
image::ImageStore& Engine::images() { return *parts_->images; }
network::NetworkManager& Engine::network() { return *parts_->network; }
NetworkStore& Engine::networks() { return *parts_->networks; }
volume::VolumeStore& Engine::volumes() { return *parts_->volumes; }
SecretStore& Engine::secrets() { return *parts_->secrets; }
EventHub& Engine::events() { return parts_->events; }
ImageGc& Engine::image_gc() { return *parts_->image_gc; }
db::Database& Engine::database() { return *parts_->database; }

Result<> Engine::untag_image(const std::string& name) {
  auto image = TRY(parts_->images->find(name));
  auto removed = TRY(parts_->images->remove(
      name, {}, [this](const std::string& id) { return parts_->containers->users_of_image(id); }));
  for (const auto& entry : removed) {
    if (!entry.untagged.empty()) parts_->events.publish_image("untag", image.id, image.id, image.config.config.labels);
    if (entry.deleted == image.id) parts_->events.publish_image("delete", image.id, image.id);
  }
  return {};
}
const sys::CgroupSystem& Engine::cgroups() const { return parts_->cgroups; }
const std::string& Engine::engine_id() const { return parts_->engine_id; }

static Result<UniqueFd> lock_dir(const std::string& dir) {
  std::string path = dir + "/lock";
  auto fd = TRY(sys::open_file(path, O_RDWR | O_CREAT, 0600));
  // An engine that was just killed may live on for a moment in a child that has not exec'ed yet.
  for (int attempt = 0; attempt < 100; ++attempt) {
    if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
    if (errno != EWOULDBLOCK && errno != EINTR) return fail_errno("flock '%s'", path.c_str());
    usleep(20000);
  }
  return fail(ErrorKind::kConflict, "another engine uses '%s' (its lock is held)", dir.c_str());
}

Result<> Engine::lock_roots() {
  // Nobody but root passes: set-user-id programs of images lie below (volumes are reached by mounts, not by path).
  TRY(sys::make_dirs(parts_->options.data_root, 0710));
  TRY(sys::make_dirs(parts_->options.exec_root, 0711));
  parts_->data_lock = TRY(lock_dir(parts_->options.data_root));
  parts_->exec_lock = TRY(lock_dir(parts_->options.exec_root));
  return {};
}

static Result<std::string> read_or_make_id(const std::string& path) {
  if (auto text = sys::read_file(path, 128); text && trim(*text).size() == 36) return std::string(trim(*text));
  std::string hex = random_hex(32);
  std::string id = hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
                   hex.substr(20);
  TRY(sys::replace_file(path, id + "\n", 0600, true));
  return id;
}

// What no record owns: a create or a remove was cut short. Put out of the way now, taken away later.
Result<> Engine::drop_half_made() {
  const Paths& paths = *parts_->paths;
  TRY(sys::make_dirs(paths.containers(), 0710));
  TRY(sys::make_dirs(paths.run_containers(), 0700));
  TRY(sys::make_dirs(paths.temporary(), 0700));
  for (const auto& name : TRY(sys::list_dir(paths.containers()))) {
    if (parts_->containers->find(name)) continue;
    log_info("removing directory '%s', which belongs to no container", name.substr(0, 64).c_str());
    std::string trash = paths.temporary() + "/rm-" + random_hex(16);
    if (::rename((paths.containers() + "/" + name).c_str(), trash.c_str()) < 0)
      return fail_errno("rename '%s'", name.c_str());
  }
  std::vector<std::string> trash;
  for (const auto& name : TRY(sys::list_dir(paths.temporary())))
    if (name.starts_with("rm-")) trash.push_back(paths.temporary() + "/" + name);
  for (const auto& name : TRY(sys::list_dir(paths.run_containers())))
    if (!parts_->containers->find(name)) TRY(sys::remove_tree(paths.run_containers() + "/" + name));
  if (trash.empty()) return {};
  parts_->executor->post([this, trash = std::move(trash)] {
    for (const auto& dir : trash) {
      auto volumes = sys::read_file(Paths::volume_list(dir), 1 << 20).value_or("");
      for (const auto& name : split(volumes, '\n')) {
        if (name.empty()) continue;
        if (auto gone = parts_->volumes->remove(name); !gone) log_warn("%s", gone.error().message.c_str());
      }
      if (auto gone = sys::remove_tree(dir); !gone) log_warn("%s", gone.error().message.c_str());
    }
  });
  return {};
}

// What tells this engine's kernel objects from another's: nothing for the default roots.
static std::string suffix_of(const EngineOptions& options) {
  EngineOptions defaults;
  if (options.data_root == defaults.data_root && options.exec_root == defaults.exec_root) return "";
  return "-" + std::string(digest::hex_of(digest::sha256(options.data_root + ":" + options.exec_root))).substr(0, 8);
}

static network::NetworkConfig network_config_of(const EngineOptions& options, const std::string& engine_id) {
  network::NetworkConfig config;
  config.bridge = options.bridge;
  config.bridge_address = options.bridge_address;
  config.table = "caisson" + suffix_of(options);
  config.mtu = options.mtu;
  const auto& own = options.network;
  config.masquerade = options.ip_masq;
  config.ipv6 = own.ipv6;
  config.bridge_address6 = own.bridge_address6;
  config.fixed_cidr = own.fixed_cidr;
  config.fixed_cidr6 = own.fixed_cidr6;
  config.host_ip = own.host_ip;
  config.enable_nat = own.rules;
  config.enable_nat6 = own.rules && own.rules6;
  config.forward = own.forward;
  config.icc = own.icc;
  config.ula_seed = engine_id;
  for (const auto& block : own.blocks) config.blocks.push_back({block.base, block.size});
  config.relay_program = options.program_dir + "/caisson-relay";
  config.relay_socket = options.exec_root + "/relay.sock";
  config.firewalld_program = options.program_dir + "/caisson-firewalld";
  config.direct_routing = own.direct_routing;
  config.honor_firewall = own.honor_firewall;
  config.gate_program = options.program_dir + "/caisson-gate";
  config.gate_socket = options.exec_root + "/gate.sock";
  return config;
}

static CniNetworks::Config cni_config_of(const EngineOptions& options, const Paths& paths) {
  CniNetworks::Config config;
  config.enabled = options.cni;
  config.conf_dir = options.cni_conf_dir;
  config.runner.directories = options.cni_bin_dirs;
  config.state_dir = paths.cni_attachments();
  config.netns_dir = paths.cni_namespaces();
  return config;
}

Result<> Engine::cleanup_network(EngineOptions options) {
  Engine engine;
  Parts& parts = *engine.parts_;
  parts.options = std::move(options);
  parts.paths = std::make_unique<Paths>(parts.options);
  TRY(engine.lock_roots());
  auto config = network_config_of(parts.options, "");
  config.namespace_pool = 0;
  config.honor_firewall = false;
  parts.network = TRY(network::NetworkManager::create(std::move(config)));
  parts.database = TRY(db::Database::open(parts.paths->state_db()));
  parts.lans = std::make_unique<network::LanNetworks>(*parts.network, "caisson" + suffix_of(parts.options));
  parts.drivers = std::make_unique<NetworkDrivers>(*parts.network, *parts.lans);
  parts.networks = TRY(NetworkStore::open(*parts.database, *parts.drivers, nullptr));
  TRY(parts.lans->remove_parents());
  return parts.network->remove_all();
}

Result<std::unique_ptr<Engine>> Engine::open(EngineOptions options, sys::EventLoop& loop) {
  std::unique_ptr<Engine> engine(new Engine);
  TRY(engine->build(std::move(options), loop));
  return engine;
}

Result<> Engine::build(EngineOptions options, sys::EventLoop& loop) {
  Parts& parts = *parts_;
  parts.options = std::move(options);
  reload(parts.options);
  parts.paths = std::make_unique<Paths>(parts.options);
  TRY(lock_roots());
  parts.engine_id = TRY(read_or_make_id(parts.options.data_root + "/engine-id"));
  std::string suffix = suffix_of(parts.options);
  parts.cgroup_parent = parts.options.cgroup_parent.empty() ? "/caisson" + suffix : parts.options.cgroup_parent;
  // Nobody inside a container can write to the program that watches over it, not even through /proc/PID/exe.
  parts.monitor_program = TRY_CTX(sys::open_read_only_program(parts.options.program_dir + "/caisson-monitor"),
                                  "looking for the monitor program");
  parts.cgroups = TRY_CTX(sys::detect_cgroups(), "looking for control groups");
  parts.host.cgroup_v2 = parts.cgroups.v2;
  parts.host.kernel = read_kernel_facts(parts.cgroups);
  auto quota = sys::check_project_quota(parts.options.data_root);
  parts.host.quota_problem = quota ? "" : quota.error().message;
  parts.host.log_driver = parts.options.log_driver;
  parts.host.log_options = parts.options.log_options;
  parts.host.cpus = static_cast<int>(std::thread::hardware_concurrency());
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  parts.host.hostname = name;

  parts.database = TRY(db::Database::open(parts.paths->state_db()));
  parts.containers = TRY(ContainerRegistry::open(*parts.database));
  parts.options.storage_driver = TRY(image::choose_storage_driver(parts.options.data_root, parts.options.storage_driver,
                                                                  !parts.containers->list().empty()));
  if (parts.options.default_storage_size > 0 && !parts.host.quota_problem.empty())
    return fail(ErrorKind::kUnsupported, "storage option size: %s", parts.host.quota_problem.c_str());
  parts.images =
      TRY(image::ImageStore::open(parts.options.data_root, *parts.database, parts.options.storage_driver == "vfs"));
  parts.images->use_worker(parts.options.program_dir + "/caisson-fetch");
  auto network_config = network_config_of(parts.options, parts.engine_id);
  network_config.name_of = [&containers = *parts.containers](const std::string& id) -> std::string {
    auto container = containers.find(id);
    return container ? (*container)->snapshot()->name : "";
  };
  parts.network = TRY(network::NetworkManager::create(std::move(network_config)));
  parts.lans = std::make_unique<network::LanNetworks>(*parts.network, "caisson" + suffix);
  parts.drivers = std::make_unique<NetworkDrivers>(*parts.network, *parts.lans);
  parts.cni = std::make_unique<CniNetworks>(cni_config_of(parts.options, *parts.paths));
  NetworkDefaults defaults{parts.options.network.default_options, parts.options.network.ipv6};
  parts.networks = TRY_CTX(NetworkStore::open(*parts.database, *parts.drivers, parts.cni.get(), std::move(defaults)),
                           "reading the networks");
  parts.names = TRY(
      network::DnsClient::create({parts.options.program_dir + "/caisson-dns", parts.options.exec_root + "/dns.sock"}));
  parts.secrets = TRY(SecretStore::open(*parts.database));
  TRY(sys::make_dirs(parts.paths->volumes(), 0711));
  parts.volumes = std::make_unique<volume::VolumeStore>(parts.paths->volumes(), parts.paths->temporary());
  TRY(sys::make_dirs(parts.paths->seccomp_cache(), 0700));
  parts.seccomp = std::make_unique<runtime::SeccompCache>(parts.paths->seccomp_cache());
  parts.executor = std::make_unique<Executor>(8);
  TRY(drop_half_made());
  TRY(parts.events.keep_journal(parts.options.data_root + "/events"));

  Services services{parts.options,     *parts.paths,
                    *parts.containers, *parts.images,
                    *parts.network,    *parts.names,
                    *parts.networks,   *parts.cni,
                    *parts.lans,       *parts.volumes,
                    *parts.secrets,    *parts.seccomp,
                    parts.cgroups,     *parts.executor,
                    parts.events,      loop,
                    own_limits(),      format("/proc/self/fd/%d", parts.monitor_program.get())};
  parts.execs = std::make_unique<ExecManager>(services);
  parts.lifecycle = std::make_unique<Lifecycle>(services, *parts.execs);
  parts.roots = std::make_unique<ContainerRoots>(services);
  parts.services = std::make_unique<Services>(services);
  parts.health = std::make_unique<HealthChecks>(services, *parts.execs, *parts.lifecycle);
  parts.lifecycle->set_observer(*parts.health);
  parts.lifecycle->adopt_all(parts.containers->list());
  if (auto restored = parts.network->finish_restore(); !restored)
    log_error("restoring the network: %s", restored.error().message.c_str());
  parts.resolver = std::make_unique<HostResolver>(*parts.names, loop, *parts.executor);
  parts.resolver->start();
  if (int events = parts.network->rule_events(); events >= 0)
    TRY(loop.add(events, EPOLLIN, [this](uint32_t) {
      if (!parts_->network->rules_are_lost()) return;
      parts_->executor->post([this] {
        if (auto done = parts_->network->repair_rules(); !done) log_error("%s", done.error().message.c_str());
      });
    }));
  if (int events = parts.network->link_events(); events >= 0)
    TRY(loop.add(events, EPOLLIN, [this](uint32_t) {
      if (!parts_->network->bridges_are_lost()) return;
      parts_->executor->post([this] {
        if (auto done = parts_->network->repair_bridges(); !done) log_error("%s", done.error().message.c_str());
      });
    }));
  if (auto restored = parts.names->finish_restore(); !restored)
    log_error("restoring names: %s", restored.error().message.c_str());
  parts.executor->post([this] { parts_->lifecycle->settle_cni(); });
  parts.lifecycle->start_at_boot();
  parts.image_gc = std::make_unique<ImageGc>(services);
  parts.image_gc->start();
  return {};
}

Result<std::vector<spec::MountPoint>> Engine::make_mount_points(ContainerRecord& record,
                                                                std::vector<std::shared_ptr<void>>& holds) {
  std::vector<spec::MountPoint> points;
  for (auto& planned : TRY(plan_mounts(record.config, record.host_config, record.inherited_mounts))) {
    spec::MountPoint point = planned.point;
    if (point.type == "volume") {
      // Not of kind not-found: on this route clients take a 404 for a missing image and go and pull it.
      if (point.driver != "local")
        return fail(ErrorKind::kInvalid, "error looking up volume plugin %s: plugin \"%s\" not found",
                    point.driver.c_str(), point.driver.c_str());
      bool is_anonymous = point.name.empty();
      if (is_anonymous) {
        point.name = random_id();
        record.anonymous_volumes.push_back(point.name);
        // Before it exists: should the engine die before the row is written, the next one finds it by this.
        TRY(sys::write_file(Paths::volume_list(parts_->paths->container(record.id)),
                            join(record.anonymous_volumes, "\n"), 0600));
      }
      std::map<std::string, std::string> labels;
      if (is_anonymous) labels["com.docker.volume.anonymous"];
      auto opened = TRY(parts_->volumes->open_or_create(point.name, labels));
      point.source = opened.path;
      if (opened.created) parts_->events.publish({"volume", "create", point.name, {{"driver", "local"}}, 0});
      holds.push_back(std::move(opened.hold));
    } else if (point.type == "bind" && !sys::path_exists(point.source)) {
      if (!planned.create_source)
        return fail(ErrorKind::kInvalid, "invalid mount config for type \"bind\": bind source path does not exist: %s",
                    point.source.c_str());
      // DOCKER-QUIRK: -v makes the missing host directory.
      TRY_CTX(sys::make_dirs(point.source, 0755), "error while creating mount source path '" + point.source + "'");
    }
    if (point.type == "image") {
      auto image = parts_->images->find(point.source);
      if (!image) return fail(ErrorKind::kInvalid, "%s", image.error().message.c_str());
      point.name = image->id;
      TRY(image_mount_layers(TRY(parts_->images->layers(image->id)).directories, planned.subpath));
    }
    if (point.type != "tmpfs") points.push_back(std::move(point));
  }
  return points;
}

Result<Engine::Created> Engine::create(std::string name, spec::ContainerConfig config, spec::CreateExtras extras) {
  if (!name.empty()) name = TRY(check_name(name));
  if (config.image.empty()) return fail(ErrorKind::kInvalid, "no image was specified: the field Image is empty");
  auto image = TRY(parts_->images->find(config.image));
  Created created;
  ContainerRecord record;
  record.id = random_id();
  record.created_ns = now_ns();
  record.image_id = image.id;
  record.image_name = config.image;
  TRY(check_platform(image.config, config.image, extras.platform, created.warnings));
  TRY(check_request(config, extras.host_config, extras.networking_config));
  // Names may be given to others before the start.
  auto& host = extras.host_config;
  for (auto* mode : {&host.network_mode, &host.pid_mode, &host.ipc_mode})
    if (mode->starts_with("container:"))
      if (auto peer = parts_->containers->find(mode->substr(10))) *mode = "container:" + (*peer)->id();
  TRY(merge_image_config(config, image.config));
  apply_engine_defaults(extras.host_config, parts_->options, *live_options());
  if (parts_->options.default_storage_size > 0 && parts_->host.quota_problem.empty())
    extras.host_config.storage_opt.try_emplace("size", std::to_string(parts_->options.default_storage_size));
  TRY(normalise_host_config(extras.host_config, config, parts_->host, created.warnings));
  TRY(parse_security_options(extras.host_config.security_opt));
  TRY(resolve_secrets(extras.host_config.secrets, *parts_->secrets));
  if (config.hostname.empty() && !extras.host_config.network_mode.starts_with("container:"))
    config.hostname = record.id.substr(0, 12);
  record.config = std::move(config);
  record.host_config = std::move(extras.host_config);
  record.networking = std::move(extras.networking_config);
  TRY(resolve_networks(record, *parts_->networks));
  for (auto& sentence : unreached_by_ipv6(record, *parts_->networks)) created.warnings.push_back(std::move(sentence));
  auto command = command_line(record.config);
  record.path = command[0];
  record.args.assign(command.begin() + 1, command.end());
  std::string parent =
      record.host_config.cgroup_parent.empty() ? parts_->cgroup_parent : record.host_config.cgroup_parent;
  if (!parent.starts_with('/')) parent = "/" + parent;
  if (parent.find("..") != std::string::npos)
    return fail(ErrorKind::kInvalid, "invalid cgroup parent: '%s'", parent.c_str());
  record.cgroup_path = parent + "/" + record.id;

  Rollback undo;
  std::string dir = parts_->paths->container(record.id);
  undo.add([this, dir, &record] {
    if (auto removed = sys::remove_tree(dir); !removed) log_warn("%s", removed.error().message.c_str());
    for (const auto& volume : record.anonymous_volumes)
      if (auto removed = parts_->volumes->remove(volume); !removed) log_warn("%s", removed.error().message.c_str());
  });
  for (const auto& path : {dir, parts_->paths->upper(record.id), parts_->paths->work(record.id)})
    if (mkdir(path.c_str(), path == dir ? 0710 : 0755) < 0) return fail_errno("mkdir '%s'", path.c_str());
  if (int64_t size = TRY(storage_size(record.host_config)); size > 0)
    TRY(sys::limit_project({parts_->paths->upper(record.id), parts_->paths->work(record.id)}, size));
  for (const auto& text : record.host_config.volumes_from) {
    auto from = TRY(parse_volumes_from(text));
    auto peer = parts_->containers->find(from.container);
    // 404 on this route means the image, and clients would go and pull it.
    if (!peer) return fail(ErrorKind::kInvalid, "%s", peer.error().message.c_str());
    auto peer_record = (*peer)->snapshot();
    for (auto point : peer_record->mounts) {
      if (point.type == "image") continue;
      point.rw = point.rw && !from.read_only;
      record.inherited_mounts.push_back(std::move(point));
    }
  }
  std::vector<std::shared_ptr<void>> volume_holds;  // until the record tells that they are in use
  record.mounts = TRY(make_mount_points(record, volume_holds));
  record.links = TRY(resolve_links(record.host_config, *parts_->containers));
  record.host_config.links.clear();

  created.id = record.id;
  bool named = !name.empty();
  for (int attempt = 0;; ++attempt) {
    record.name = named ? name : random_name(attempt);
    auto added = parts_->containers->add(record);
    if (added) break;
    if (named || added.error().kind != ErrorKind::kConflict || attempt > 16)
      return std::unexpected(std::move(added).error());
  }
  undo.commit();
  parts_->images->note_use(record.image_id);
  parts_->events.publish_container(record, "create");
  return created;
}

Result<std::vector<std::string>> Engine::update(const ContainerPtr& container, const spec::HostConfig& change) {
  return update_container(*parts_->services, container, change);
}

Result<> Engine::remove_link(const std::string& name) { return engine::remove_link(*parts_->services, name); }

void Engine::warm_up() {
  parts_->executor->post([this] { parts_->network->warm_up(); });
  // The engine before may have died between a container's end and its image's.
  parts_->executor->post([this] {
    parts_->images->forget_unused([this](const std::string& id) { return containers().users_of_image(id); });
  });
}

}  // namespace caisson::engine
