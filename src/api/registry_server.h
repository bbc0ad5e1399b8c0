// SPDX-License-Identifier: Apache-2.0
// The registry server's requests (distribution specification 1.1) over image::RegistryStore. The listener, TLS and
// passwords are the program's; the engine's own API is another server.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "image/registry_store.h"
#include "wire/http_server.h"

namespace caisson::engine {
class Engine;
}

namespace caisson::api {

struct RegistryAccess {
  bool read_only = false;
  // Empty: nobody is asked for a password.
  std::function<bool(const std::string& user, const std::string& password)> check;
};

http::Router make_registry_router(engine::Engine& engine, image::RegistryStore& store, RegistryAccess access);

// How the program lets the registry server be started and stopped while the engine runs; see POST /caisson/registry.
struct RegistrySettings {
  std::string listen;                              // "127.0.0.1:5000"
  std::string htpasswd, tls_certificate, tls_key;  // files, "" for none
  bool read_only = false;
};
CAISSON_JSON(RegistrySettings, CAISSON_FIELD("Listen", listen), CAISSON_FIELD("Htpasswd", htpasswd),
             CAISSON_FIELD("TLSCert", tls_certificate), CAISSON_FIELD("TLSKey", tls_key),
             CAISSON_FIELD("ReadOnly", read_only))

class RegistryControl {
 public:
  virtual ~RegistryControl() = default;
  // kConflict: it runs already, with other settings.
  virtual Result<> serve(const RegistrySettings& settings) = 0;
  virtual Result<> stop() = 0;                             // kNotFound: it does not run
  virtual bool settings(RegistrySettings& out) const = 0;  // false: it does not run
  virtual image::RegistryStore& store() = 0;
};

}  // namespace caisson::api
