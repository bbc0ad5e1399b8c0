// SPDX-License-Identifier: Apache-2.0
// Flags about who reaches the engine, and how it logs and checks itself.
#include "base/text.h"
#include "cmd/caissond/daemon_flags.h"

namespace caisson {

namespace {

constexpr Flag kFlags[] = {
    {.name = "group",
     .key = "group",
     .argument = "GROUP",
     .help = "Group of the unix socket, by name or number (default: docker, where that group exists)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.group = v;
       return {};
     }},
    {.name = "host-readonly",
     .key = "hosts-readonly",
     .argument = "URL",
     .help = "A further unix:///path on which nothing can be changed; may be repeated",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (!v.starts_with("unix:///"))
         return fail(ErrorKind::kInvalid, "expected unix:///path, got %s", quoted(v).c_str());
       o.read_only_hosts.push_back(v);
       return {};
     },
     .form = FlagForm::kList},
    {.name = "log-format",
     .key = "log-format",
     .argument = "FORMAT",
     .help = "Form of the engine's own log: text or json (default text)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       if (v != "text" && v != "json") return fail(ErrorKind::kInvalid, "invalid log format: %s", v.c_str());
       o.log_json = v == "json";
       return {};
     }},
    {.name = "raw-logs",
     .key = "raw-logs",
     .argument = nullptr,
     .help = "Full times and no colours in the engine's own log, which it has anyway",
     .apply = [](DaemonOptions&, const std::string& v) -> Result<> {
       TRY(parse_bool(v));
       return {};
     }},
    {.name = "tls",
     .key = "tls",
     .argument = nullptr,
     .help = "Encrypt tcp hosts; implied by --tlsverify",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.tls.on = TRY(parse_bool(v));
       return {};
     }},
    {.name = "tlscacert",
     .key = "tlscacert",
     .argument = "FILE",
     .help = "Trust only certificates signed by these authorities (default ~/.docker/ca.pem)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.tls.ca = v;
       return {};
     }},
    {.name = "tlscert",
     .key = "tlscert",
     .argument = "FILE",
     .help = "Certificate of the engine (default ~/.docker/cert.pem)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.tls.certificate = v;
       return {};
     }},
    {.name = "tlskey",
     .key = "tlskey",
     .argument = "FILE",
     .help = "Key of the engine (default ~/.docker/key.pem)",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.tls.key = v;
       return {};
     }},
    {.name = "tlsverify",
     .key = "tlsverify",
     .argument = nullptr,
     .help = "Encrypt tcp hosts, and serve only clients with a certificate",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       // DOCKER-QUIRK: with =false it still turns encryption on.
       o.tls.on = true;
       o.tls.verify = TRY(parse_bool(v));
       return {};
     }},
    {.name = "cleanup-network",
     .key = nullptr,
     .argument = nullptr,
     .help = "Remove the bridges and firewall rules of an engine that does not run, and quit",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.cleanup_network = TRY(parse_bool(v));
       return {};
     }},
    {.name = "validate",
     .key = nullptr,
     .argument = nullptr,
     .help = "Check flags and configuration file, and quit",
     .apply = [](DaemonOptions& o, const std::string& v) -> Result<> {
       o.validate = TRY(parse_bool(v));
       return {};
     }},
};

}  // namespace

std::span<const Flag> access_flags() { return kFlags; }

}  // namespace caisson
