// SPDX-License-Identifier: Apache-2.0
// The texts of CNI (specification 1.0 and 1.1): network configuration lists as administrators write them, what a
// plugin is given on its stdin, and what it answers. Pure but for load_cni_directory.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace caisson::engine {

struct CniPlugin {
  std::string type;  // name of the program, without any '/'
  std::string text;  // its object, as written
  std::set<std::string> capabilities;
};

struct CniList {
  std::string name, version, file;
  bool disable_check = false, disable_gc = false, only_inlined = false;
  std::vector<CniPlugin> plugins;
  std::vector<std::pair<std::string, std::string>> subnets;  // with its gateway, of the plugins' address management

  bool has_capability(std::string_view name) const;
  // Is its version this one or a later one? Both of those that parse_cni_list takes.
  bool at_least(std::string_view version) const;
  std::string encode() const;  // parse_cni_list gives the same again
};

// kInvalid with a sentence that does not name the file; kUnsupported for versions before 0.3.0. A single plugin's
// configuration (*.conf) counts as a list of one.
Result<CniList> parse_cni_list(std::string_view text);

// Every list of the directory by the order of the files' names; the first of two with one name wins. What is wrong
// with a file goes to `problems`, one sentence each. No directory: nothing.
std::vector<CniList> load_cni_directory(const std::string& dir, std::vector<std::string>& problems);

// Members that the plugin's object gets, or gets replaced, by their JSON texts.
using CniMembers = std::map<std::string, std::string>;
std::string cni_plugin_input(const CniList& list, const CniPlugin& plugin, CniMembers members);

struct CniResult {
  struct Address {
    std::string address, gateway;  // address without its prefix
    int prefix = 0;
    bool v6 = false;
  };
  std::string host_interface, mac;  // mac: of the interface in the container
  std::vector<Address> addresses;
  bool default_route = false, default_route6 = false;
  std::vector<std::string> name_servers, search, dns_options;

  const Address* first(bool v6) const;
};

// `interface`: the container's. kInvalid with a sentence.
Result<CniResult> parse_cni_result(std::string_view text, const std::string& interface);

// What a plugin that failed has written: "failed to allocate: no addresses left (code 11)"; empty when that is no error
// of CNI. One line of at most 1000 bytes.
std::string cni_error_sentence(std::string_view text);
// One line without control characters, cut after `limit` bytes.
std::string cni_one_line(std::string_view text, size_t limit = 1000);

}  // namespace caisson::engine
