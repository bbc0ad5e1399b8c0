// SPDX-License-Identifier: Apache-2.0
// Messages between the engine and caisson-fetch: JSON in SEQPACKET messages, descriptors attached. Bulk bytes
// never travel here, only through the descriptors. The engine takes the worker for hostile: everything it says
// is bounded and checked, digests are verified on the engine's side.
//
//   kind          descriptors with the job                     what the worker does
//   setup         -                                            first message: registry, repository, credentials
//   url           [0] pipe for the bytes                       GET `reference`, any http or https URL
//   login         -                                            tries the credentials: GET /v2/; says `identity_token`
//   manifest      [0] pipe for the document                    GET by `reference` (tag or digest)
//   head          -                                            HEAD of manifest `reference`
//   tags          [0] pipe for the document                    GET tags/list
//   referrers     [0] pipe for the document                    GET referrers of manifest `digest`, an index
//   search        [0] pipe for the document                    GET `reference`: "/v1/search?q=..."
//   blob          [0] pipe for the bytes as stored, [1] pipe for the decompressed tar (optional); with `offset` only
//   the
//                 bytes from there on are fetched and stored, and [2] is a file with those before (where [1] is)
//   unpack        [0] blob to read, [1] pipe for the decompressed tar
//   compress      [0] tar to read, [1] file for gzip           says `digest` and `size` of the result
//   exists        -                                            HEAD of blob `digest`: `size`, or -1
//   upload        [0] blob to read                             `digest`, `size`; `mount_from` tried first
//   mount         -                                            blob `digest` from `mount_from`: `note` says whether
//   put_manifest  [0] document to read                         `reference`, `media_type`
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "wire/json.h"

namespace caisson::image {

inline constexpr size_t kMaxFetchMessage = 160 << 10;  // below the default socket buffer
inline constexpr int64_t kMaxManifestBytes = 4 << 20;
inline constexpr int64_t kMaxConfigBytes = 8 << 20;

struct FetchSetup {
  std::string host;  // "localhost:5000"
  bool insecure = false;
  std::string repository;  // "library/busybox"
  bool push = false;
  bool offline_token = false;  // login: ask for an identity token
  std::string auth;            // Docker's AuthConfig JSON, "" for none
  std::string ca_pem;          // additional trusted certificates
  std::string client_cert_pem, client_key_pem;
  std::vector<std::string> insecure_networks;  // hosts with an address in there are insecure
  int64_t timeout_s = 60;                      // longest silence
  int64_t tries = 0;                           // of a transfer that brings nothing new; 0: the worker's own
};

struct FetchJob {
  int64_t id = 0;
  std::string kind;
  std::string reference, digest, media_type, mount_from;
  int64_t size = -1;
  int64_t offset = 0;  // of a blob: this much is here already
  FetchSetup setup;    // kind "setup" only
};

struct FetchReply {
  int64_t id = 0;
  bool done = false;  // false: progress, `size` bytes so far
  bool ok = false;
  std::string error_kind, message, code;  // code: the registry's own ("MANIFEST_UNKNOWN")
  std::string digest, media_type, note;   // note: "mounted" after an upload that was a mount
  std::string identity_token;             // after a login
  int64_t size = -1;
};

CAISSON_JSON(FetchSetup, CAISSON_FIELD("host", host), CAISSON_FIELD("insecure", insecure),
             CAISSON_FIELD("repository", repository), CAISSON_FIELD("push", push), CAISSON_FIELD_OMIT("auth", auth),
             CAISSON_FIELD_OMIT("ca_pem", ca_pem), CAISSON_FIELD_OMIT("client_cert_pem", client_cert_pem),
             CAISSON_FIELD_OMIT("client_key_pem", client_key_pem), CAISSON_FIELD("offline_token", offline_token),
             CAISSON_FIELD_OMIT("insecure_networks", insecure_networks), CAISSON_FIELD("timeout_s", timeout_s),
             CAISSON_FIELD_OMIT("tries", tries))
CAISSON_JSON(FetchJob, CAISSON_FIELD("id", id), CAISSON_FIELD("kind", kind), CAISSON_FIELD_OMIT("reference", reference),
             CAISSON_FIELD_OMIT("digest", digest), CAISSON_FIELD_OMIT("media_type", media_type),
             CAISSON_FIELD_OMIT("mount_from", mount_from), CAISSON_FIELD("size", size), CAISSON_FIELD("offset", offset),
             CAISSON_FIELD("setup", setup))
CAISSON_JSON(FetchReply, CAISSON_FIELD("id", id), CAISSON_FIELD("done", done), CAISSON_FIELD("ok", ok),
             CAISSON_FIELD_OMIT("error_kind", error_kind), CAISSON_FIELD_OMIT("message", message),
             CAISSON_FIELD_OMIT("code", code), CAISSON_FIELD_OMIT("digest", digest),
             CAISSON_FIELD_OMIT("media_type", media_type), CAISSON_FIELD_OMIT("note", note),
             CAISSON_FIELD_OMIT("identity_token", identity_token), CAISSON_FIELD("size", size))

// What the engine takes from a worker: shortens texts, removes control bytes, refuses malformed digests.
Result<FetchReply> parse_fetch_reply(const std::string& message);
Result<FetchJob> parse_fetch_job(const std::string& message);
// Names of error kinds over the socket, both ways; an unknown name is kInternal.
ErrorKind error_kind_of_name(const std::string& name);

}  // namespace caisson::image
