// SPDX-License-Identifier: Apache-2.0
// Unpacks layers of an archive while the rest of it still comes in: what looks like a layer's plain tar is tried on a
// thread of its own, before anybody knows which image it belongs to. What turns out to be something else, or to lean
// on the layers below it, is left to those who know more. Nothing here can fail a load.
#pragma once

#include <memory>

#include "image/blob_store.h"
#include "image/disk_image_store.h"
#include "image/pull_progress.h"

namespace caisson::image {

class EarlyLayers {
 public:
  // The caller holds a lease: layers that no image wants go with it.
  EarlyLayers(DiskImageStore& store, ProgressSink& progress);
  ~EarlyLayers();  // finish()

  void offer(const SpooledBlob& member);
  // Waits for the layer at work and leaves the others.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caisson::image
