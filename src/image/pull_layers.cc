// SPDX-License-Identifier: Apache-2.0
#include "image/pull_layers.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "base/text.h"
#include "image/pull_stream.h"

namespace caisson::image {
namespace {

struct LayerTask {
  const spec::Descriptor* blob = nullptr;
  std::string diff_id;
  std::vector<std::string> parents;
  std::string id;  // short form for progress lines
  bool has_blob = false, has_layer = false;
};

class LayerPuller {
 public:
  LayerPuller(ImageStore& store, FetchSession& session, ProgressSink& sink, std::vector<LayerTask> tasks)
      : store_(store), session_(session), sink_(sink), tasks_(std::move(tasks)), unpacked_(tasks_.size()) {}

  Result<> run(int threads) {
    std::vector<std::thread> pool;
    for (int i = 0; i < threads; ++i) pool.emplace_back([this] { work(); });
    for (auto& thread : pool) thread.join();
    if (error_) return std::unexpected(std::move(*error_));
    return {};
  }

 private:
  void work() {
    while (true) {
      size_t index = next_++;
      if (index >= tasks_.size() || failed_) return;
      auto done = tasks_[index].has_blob ? unpack(index) : download(index);
      if (!done) return give_up(std::move(done).error());
    }
  }

  void give_up(Error error) {
    std::unique_lock lock(mutex_);
    if (!error_) error_ = std::move(error);
    failed_ = true;
    changed_.notify_all();
    lock.unlock();
    session_.abort();
  }

  Result<> download(size_t index) {
    const LayerTask& task = tasks_[index];
    Pipe blob = TRY(make_pipe());
    Pipe tar;
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(blob.write_end));
    if (!task.has_layer) {
      tar = TRY(make_pipe());
      fds.push_back(std::move(tar.write_end));
    }
    Result<FetchReply> reply;
    std::thread caller([&] {
      reply =
          session_.call(FetchJob{.kind = "blob", .digest = task.blob->digest, .size = task.blob->size}, std::move(fds));
    });
    Result<> stored, unpacked;
    std::thread storer([&] {
      TransferMeter meter(sink_, "Downloading", task.id, task.blob->size);
      MeteredSource source(blob.read_end.get(), task.blob->size, "blob " + task.blob->digest,
                           [&](int64_t bytes) { meter.at(bytes); });
      stored = store_.add_blob(task.blob->digest, source);
      blob.read_end.reset();
      if (stored) {
        sink_.send(layer_line("Verifying Checksum", task.id));
        sink_.send(layer_line("Download complete", task.id));
      }
    });
    if (!task.has_layer) unpacked = add_layer(task, std::move(tar.read_end));
    storer.join();
    caller.join();
    // A blob that was cut or refused is explained by the worker; a worker that met a closed pipe is explained by us.
    if (!stored && (reply || reply.error().kind == ErrorKind::kIo)) return blob_error(task, std::move(stored).error());
    if (!reply && stored && !unpacked) return std::unexpected(std::move(unpacked).error());
    if (!reply) return std::unexpected(std::move(reply).error());
    return finish(index, std::move(unpacked));
  }

  Result<> add_layer(const LayerTask& task, UniqueFd tar) {
    MeteredSource source(tar.get(), unpacked_limit(task.blob->size), "layer " + task.blob->digest + " unpacked");
    return store_.add_layer(task.diff_id, task.parents, source);
  }

  // The blob is in the store, its layer is not: a pull that was cut short, or a layer that must wait for its parents.
  Result<> unpack(size_t index) {
    TRY(wait_for_parents(index));
    const LayerTask& task = tasks_[index];
    sink_.send(transfer_line("Extracting", task.id, task.blob->size, task.blob->size));
    UniqueFd blob = TRY(store_.open_blob(task.blob->digest));
    Pipe tar = TRY(make_pipe());
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(blob));
    fds.push_back(std::move(tar.write_end));
    Result<FetchReply> reply;
    std::thread caller([&] { reply = session_.call(FetchJob{.kind = "unpack"}, std::move(fds)); });
    auto unpacked = add_layer(task, std::move(tar.read_end));
    caller.join();
    if (!reply) return std::unexpected(std::move(reply).error());
    if (!unpacked) return unpacked;
    return complete(index);
  }

  Result<> finish(size_t index, Result<> unpacked) {
    const LayerTask& task = tasks_[index];
    // The layer leans on a lower one (a hard link into it, a directory it does not list) that was not there yet.
    // Its blob is in the store by now, so it is unpacked from there in its turn.
    bool too_early =
        !unpacked && (unpacked.error().kind == ErrorKind::kConflict || unpacked.error().kind == ErrorKind::kNotFound);
    if (too_early && !task.parents.empty()) return unpack(index);
    if (!unpacked) return unpacked;
    sink_.send(transfer_line("Extracting", task.id, task.blob->size, task.blob->size));
    return complete(index);
  }

  Result<> complete(size_t index) {
    sink_.send(layer_line("Pull complete", tasks_[index].id));
    std::lock_guard lock(mutex_);
    unpacked_[index] = true;
    changed_.notify_all();
    return {};
  }

  // Lower tasks are always started before higher ones, so this ends.
  Result<> wait_for_parents(size_t index) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return failed_ || std::all_of(unpacked_.begin(), unpacked_.begin() + static_cast<ptrdiff_t>(index),
                                    [](bool done) { return done; });
    });
    if (failed_) return fail(ErrorKind::kCancelled, "another layer failed");
    return {};
  }

  static Result<> blob_error(const LayerTask& task, Error error) {
    if (error.kind == ErrorKind::kCorrupt)
      return fail(ErrorKind::kCorrupt, "filesystem layer verification failed for digest %s", task.blob->digest.c_str());
    return std::unexpected(std::move(error));
  }

  ImageStore& store_;
  FetchSession& session_;
  ProgressSink& sink_;
  const std::vector<LayerTask> tasks_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> unpacked_;
  std::optional<Error> error_;
};

}  // namespace

int64_t unpacked_limit(int64_t compressed_size) {
  // The floor is for tiny layers: a tar is padded to 10 KiB of zeros at least, which compress beyond any ratio.
  return std::min(kMaxLayerUnpacked,
                  (int64_t{1} << 20) + std::min(compressed_size, kMaxLayerUnpacked / kMaxLayerRatio) * kMaxLayerRatio);
}

Result<> pull_layers(ImageStore& store, FetchSession& session, int max_parallel, const spec::Manifest& manifest,
                     const spec::ImageConfig& config, ProgressSink& sink) {
  std::vector<LayerTask> tasks;
  std::set<std::string> seen;
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    auto first = config.rootfs.diff_ids.begin();
    LayerTask task{&manifest.layers[i],
                   config.rootfs.diff_ids[i],
                   {first, first + static_cast<ptrdiff_t>(i)},
                   short_digest(manifest.layers[i].digest)};
    task.has_blob = store.has_blob(task.blob->digest);
    task.has_layer = store.has_layer(task.diff_id);
    bool repeated = !seen.insert(task.diff_id).second;
    if (repeated || (task.has_blob && task.has_layer)) {
      if (!repeated) sink.send(layer_line("Already exists", task.id));
      continue;
    }
    sink.send(layer_line("Pulling fs layer", task.id));
    tasks.push_back(std::move(task));
  }
  int threads = std::clamp(static_cast<int>(tasks.size()), 0, std::max(1, max_parallel));
  for (size_t i = static_cast<size_t>(threads); i < tasks.size(); ++i) sink.send(layer_line("Waiting", tasks[i].id));
  return LayerPuller(store, session, sink, std::move(tasks)).run(threads);
}

}  // namespace caisson::image
