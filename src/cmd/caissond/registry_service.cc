// SPDX-License-Identifier: Apache-2.0
#include "cmd/caissond/registry_service.h"

#include "api/version.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/caissond/htpasswd.h"
#include "sys/files.h"

namespace caisson {

namespace {

constexpr const char* kDefaultAddress = "127.0.0.1:5000";

bool same(const api::RegistrySettings& a, const api::RegistrySettings& b) { return json::encode(a) == json::encode(b); }

// "5000", ":5000", "address:5000".
Result<api::RegistrySettings> complete(api::RegistrySettings settings) {
  std::string& listen = settings.listen;
  if (listen.empty()) listen = kDefaultAddress;
  if (listen.find(':') == listen.npos)
    listen = (parse_uint(listen) ? "127.0.0.1:" : "") + listen + (parse_uint(listen) ? "" : ":5000");
  if (listen.starts_with(':')) listen = "0.0.0.0" + listen;
  if (settings.tls_certificate.empty() != settings.tls_key.empty())
    return fail(ErrorKind::kInvalid, "registry: a certificate needs its key, and a key its certificate");
  return settings;
}

}  // namespace

Result<std::unique_ptr<RegistryService>> RegistryService::open(engine::Engine& engine) {
  std::unique_ptr<RegistryService> service(new RegistryService(engine));
  service->store_ = TRY(image::RegistryStore::open(engine.options().data_root, engine.database(), engine.images()));
  service->store_->set_untag([&engine](const std::string& name) -> Result<> { return engine.untag_image(name); });
  return service;
}

RegistryService::~RegistryService() {
  if (auto stopped = stop(); !stopped) log_debug("%s, ignoring", stopped.error().message.c_str());
}

Result<> RegistryService::serve(const api::RegistrySettings& wanted) {
  auto run = std::make_unique<Run>();
  run->settings = TRY(complete(wanted));
  const auto& settings = run->settings;
  std::lock_guard lock(mutex_);
  if (run_ && same(run_->settings, settings)) return {};
  if (run_) return fail(ErrorKind::kConflict, "the registry serves on %s already", run_->settings.listen.c_str());
  api::RegistryAccess access;
  access.read_only = settings.read_only;
  if (!settings.htpasswd.empty()) {
    auto passwords = std::make_shared<Htpasswd>(TRY(Htpasswd::parse(TRY(sys::read_file(settings.htpasswd, 1 << 20)))));
    access.check = [passwords](const std::string& user, const std::string& password) {
      return passwords->check(user, password);
    };
  }
  std::string port = settings.listen.substr(settings.listen.rfind(':') + 1);
  store_->set_local_name("localhost:" + port);
  http::ServerLimits limits;
  limits.max_body_bytes = image::kMaxRegistryManifest;
  limits.max_workers = 32;
  limits.max_connections = 512;
  run->server = TRY(http::Server::create(api::make_registry_router(engine_, *store_, std::move(access)), limits));
  http::Headers headers;
  headers.add("Server", format("Caisson/%s", api::kEngineVersion));
  headers.add("Docker-Distribution-Api-Version", "registry/2.0");
  run->server->set_common_headers(headers);
  auto listener = TRY_CTX(http::listen_tcp(settings.listen), "registry");
  if (!settings.tls_certificate.empty()) {
    http::TlsSetup setup;
    setup.server = true;
    setup.verify = false;
    setup.label = engine_.options().data_root;
    setup.certificate = TRY_CTX(http::read_pem_file(settings.tls_certificate), "registry: the TLS certificate");
    setup.key = TRY_CTX(http::read_pem_file(settings.tls_key), "registry: the TLS key");
    run->tls = std::make_unique<TlsFront>(*run->server, std::move(setup));
    TRY(run->tls->start());
    TRY(run->tls->add_listener(std::move(listener)));
  } else {
    TRY(run->server->add_listener(std::move(listener)));
  }
  if (settings.htpasswd.empty())
    log_warn("the registry on %s takes images from everyone who can reach it", settings.listen.c_str());
  log_info("registry: serving on %s", settings.listen.c_str());
  run->thread = std::thread([server = run->server.get()] { server->run(); });
  run_ = std::move(run);
  return {};
}

Result<> RegistryService::stop() {
  std::unique_ptr<Run> run;
  {
    std::lock_guard lock(mutex_);
    run = std::move(run_);
  }
  if (!run) return fail(ErrorKind::kNotFound, "the registry does not serve");
  run->server->stop();
  run->thread.join();
  log_info("registry: no longer serving on %s", run->settings.listen.c_str());
  return {};
}

bool RegistryService::settings(api::RegistrySettings& out) const {
  std::lock_guard lock(mutex_);
  if (run_) out = run_->settings;
  return run_ != nullptr;
}

}  // namespace caisson
