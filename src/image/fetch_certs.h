// SPDX-License-Identifier: Apache-2.0
// Docker's certs.d: what the administrator put down for one registry. Read by the engine, used by the worker.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::image {

struct RegistryCerts {
  std::string ca_pem;                           // all *.crt, trusted beside the system's
  std::string client_cert_pem, client_key_pem;  // the first *.cert that has its *.key
};

// From <directory>/<host>/ of each of `directories`, `host` being "name[:port]". None of them has to exist. A
// certificate without its key, or the reverse, is kInvalid in Docker's words; a file above its limit is kExhausted.
Result<RegistryCerts> read_registry_certs(const std::vector<std::string>& directories, const std::string& host);

}  // namespace caisson::image
