// SPDX-License-Identifier: Apache-2.0
// Pull and push as the engine runs them: Docker's progress lines out, images in or out of the store. Registry
// traffic and decompression happen in the worker (fetch_session.h); digests are verified here.
#pragma once

#include <atomic>
#include <string>

#include "base/result.h"
#include "image/fetch_session.h"
#include "image/image_store.h"
#include "spec/reference.h"

namespace caisson::image {

struct TransferRequest {
  spec::Reference reference;  // pull: no tag and no digest means every tag; push: no tag means every tag
  std::string auth_json;      // decoded X-Registry-Auth, "" for none
  std::string platform;       // pull: "linux/arm64/v8", "" for this machine
  const std::atomic<bool>* cancel = nullptr;  // set from another thread: the worker is killed within 50 ms
  bool insecure = false;                      // plain http and any certificate are good enough for the user's registry
  bool is_short = false;  // the user's name had no registry: aliases and search list of registries.conf apply
};

// The id of the image. Blocks on network and disk. An error that comes after the first line was given to
// `progress` has also been told there as Docker's errorDetail line, so the caller only ends the stream; before
// that the caller answers with a status of its own (kNotFound for unknown and forbidden images).
// Nothing of a failed pull stays in the store once its lease is dropped.
Result<std::string> pull(ImageStore& store, const FetchConfig& config, const TransferRequest& request,
                         const Progress& progress);

// The digest of the pushed manifest (of the last one with several tags). Errors as for pull.
Result<std::string> push(ImageStore& store, const FetchConfig& config, const TransferRequest& request,
                         const Progress& progress);

// The same over a session that exists already; tests use it with a worker on a thread.
Result<std::string> pull_over(ImageStore& store, FetchSession& session, const FetchConfig& config,
                              const TransferRequest& request, const Progress& progress);
Result<std::string> push_over(ImageStore& store, FetchSession& session, const FetchConfig& config,
                              const TransferRequest& request, const Progress& progress);

// kInvalid for credentials that no registry would take.
Result<> check_request(const TransferRequest& request);
}  // namespace caisson::image
