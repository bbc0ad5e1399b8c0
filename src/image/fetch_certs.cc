// SPDX-License-Identifier: Apache-2.0
#include "image/fetch_certs.h"

#include <algorithm>

#include "sys/files.h"

namespace caisson::image {
namespace {

// All of it goes into one message to the worker.
constexpr size_t kMaxRoots = 48 << 10, kMaxClientCert = 24 << 10, kMaxClientKey = 12 << 10;

std::string with_suffix(const std::string& name, size_t cut, const char* suffix) {
  return name.substr(0, name.size() - cut) + suffix;
}

Result<> read_directory(const std::string& directory, RegistryCerts& out) {
  auto names = TRY(sys::list_dir(directory));
  std::sort(names.begin(), names.end());
  auto has = [&](const std::string& name) { return std::binary_search(names.begin(), names.end(), name); };
  for (auto& name : names) {
    if (name.ends_with(".crt")) {
      std::string text = TRY(sys::read_file(directory + "/" + name, kMaxRoots));
      if (out.ca_pem.size() + text.size() >= kMaxRoots)
        return fail(ErrorKind::kExhausted, "certificates in '%s' are larger than %zu bytes", directory.c_str(),
                    kMaxRoots);
      out.ca_pem += text + "\n";
    } else if (name.ends_with(".cert")) {
      std::string key = with_suffix(name, 5, ".key");
      if (!has(key))
        return fail(ErrorKind::kInvalid,
                    "missing key %s for client certificate %s. CA certificates must use the extension .crt",
                    key.c_str(), name.c_str());
      if (!out.client_cert_pem.empty()) continue;
      out.client_cert_pem = TRY(sys::read_file(directory + "/" + name, kMaxClientCert));
      out.client_key_pem = TRY(sys::read_file(directory + "/" + key, kMaxClientKey));
    } else if (name.ends_with(".key") && !has(with_suffix(name, 4, ".cert"))) {
      return fail(ErrorKind::kInvalid, "missing client certificate %s for key %s",
                  with_suffix(name, 4, ".cert").c_str(), name.c_str());
    }
  }
  return {};
}

}  // namespace

Result<RegistryCerts> read_registry_certs(const std::vector<std::string>& directories, const std::string& host) {
  RegistryCerts out;
  if (host.empty() || host.contains('/') || host.starts_with('.')) return out;
  for (auto& directory : directories)
    if (std::string own = directory + "/" + host; sys::path_exists(own)) TRY(read_directory(own, out));
  return out;
}

}  // namespace caisson::image
