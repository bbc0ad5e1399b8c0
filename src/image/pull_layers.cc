// SPDX-License-Identifier: Apache-2.0
#include "image/pull_layers.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "base/text.h"
#include "image/pull_stream.h"

namespace caisson::image {
namespace {

constexpr size_t kPiece = 256 << 10;
constexpr int kFollowMs = 100;

struct LayerTask {
  const spec::Descriptor* blob = nullptr;
  std::string diff_id;
  std::vector<std::string> parents;
  std::string id;  // short form for progress lines
};

class LayerPuller {
 public:
  LayerPuller(ImageStore& store, FetchSession& session, const std::atomic<bool>* cancel, ProgressSink& sink,
              std::vector<LayerTask> tasks)
      : store_(store),
        session_(session),
        cancel_(cancel),
        sink_(sink),
        tasks_(std::move(tasks)),
        unpacked_(tasks_.size()) {}

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
      if (auto done = bring(index); !done) return give_up(std::move(done).error());
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

  Result<> bring(size_t index) {
    const LayerTask& task = tasks_[index];
    bool is_unpacked = false;
    while (true) {
      auto seat = store_.transfers().join(task.blob->digest + " " + task.diff_id);
      if (!seat.is_pilot()) {
        TRY(follow(task, seat));
        continue;
      }
      is_unpacked = store_.has_layer(task.diff_id);
      if (!store_.has_blob(task.blob->digest)) is_unpacked = TRY(download(task, is_unpacked, seat.flight()));
      break;
    }
    // Without the seat: who waits for parents must not be waited for, or two pulls could wait for each other.
    return is_unpacked ? complete(index) : unpack(index);
  }

  // Another pull brings this layer in: its progress is ours. The end of it says nothing about its success.
  Result<> follow(const LayerTask& task, const TransferBoard::Seat& seat) {
    TransferMeter meter(sink_, "Downloading", task.id, task.blob->size);
    bool is_downloaded = false;
    while (!seat.wait(kFollowMs)) {
      if (failed_ || (cancel_ && cancel_->load())) return fail(ErrorKind::kCancelled, "context canceled");
      if (seat.flight().phase == TransferBoard::Phase::kDownloading) {
        meter.at(seat.flight().bytes);
      } else if (!std::exchange(is_downloaded, true)) {
        say_downloaded(task);
      }
    }
    if (!is_downloaded && store_.has_blob(task.blob->digest)) say_downloaded(task);
    return {};
  }

  void say_downloaded(const LayerTask& task) {
    sink_.send(layer_line("Verifying Checksum", task.id));
    sink_.send(layer_line("Download complete", task.id));
  }

  // True if the layer is unpacked afterwards, false if that must wait for its parents. The blob is here in both cases.
  Result<bool> download(const LayerTask& task, bool has_layer, TransferBoard::Flight& flight) {
    auto intake = TRY(store_.begin_blob(task.blob->digest, task.blob->size));
    bool was_resumed = intake->size() > 0;
    auto done = download_from(*intake, task, has_layer, flight);
    if (done || done.error().kind != ErrorKind::kCorrupt) return done;
    // What an earlier try has left may be what is wrong: after a power cut, for one.
    TRY(intake->restart());
    if (was_resumed) done = download_from(*intake, task, has_layer, flight);
    if (!done && done.error().kind == ErrorKind::kCorrupt) TRY(intake->restart());
    return done;
  }

  Result<bool> download_from(BlobIntake& intake, const LayerTask& task, bool has_layer, TransferBoard::Flight& flight) {
    int64_t offset = intake.size();
    flight.bytes = offset;
    if (offset == task.blob->size && offset > 0) {
      TRY(finish_blob(intake, task, flight));
      return has_layer;
    }
    Pipe blob = TRY(make_pipe());
    Pipe tar;
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(blob.write_end));
    if (!has_layer) {
      tar = TRY(make_pipe());
      fds.push_back(std::move(tar.write_end));
      if (offset > 0) fds.push_back(TRY(intake.open()));
    }
    Result<FetchReply> reply;
    std::thread caller([&] {
      reply = session_.call(
          FetchJob{.kind = "blob", .digest = task.blob->digest, .size = task.blob->size, .offset = offset},
          std::move(fds));
    });
    Result<> stored, unpacked;
    std::thread storer([&] {
      stored = store_blob(intake, task, blob.read_end.get(), flight);
      blob.read_end.reset();
    });
    if (!has_layer) unpacked = add_layer(task, std::move(tar.read_end));
    storer.join();
    caller.join();
    // A blob that was cut or refused is explained by the worker; a worker that met a closed pipe is explained by us.
    // Bytes that cannot be decompressed are none of the blob's where its digest is wrong as well.
    // Where our own disk refused a byte, all else is what came of that.
    if (!stored && stored.error().err != 0) return std::unexpected(std::move(stored).error());
    bool explained = !reply && reply.error().kind != ErrorKind::kIo && reply.error().kind != ErrorKind::kCorrupt;
    if (!stored && !explained) return blob_error(task, std::move(stored).error());
    if (!reply && stored && !unpacked) return std::unexpected(std::move(unpacked).error());
    if (!reply) return std::unexpected(std::move(reply).error());
    // The layer leans on a lower one (a hard link into it, a directory it does not list) that was not there yet.
    // Its blob is in the store by now, so it is unpacked from there in its turn.
    bool too_early =
        !unpacked && (unpacked.error().kind == ErrorKind::kConflict || unpacked.error().kind == ErrorKind::kNotFound);
    if (too_early && !task.parents.empty()) return false;
    if (!unpacked) return std::unexpected(std::move(unpacked).error());
    sink_.send(transfer_line("Extracting", task.id, task.blob->size, task.blob->size));
    return true;
  }

  Result<> store_blob(BlobIntake& intake, const LayerTask& task, int pipe, TransferBoard::Flight& flight) {
    TransferMeter meter(sink_, "Downloading", task.id, task.blob->size);
    MeteredSource source(pipe, task.blob->size - intake.size(), "blob " + task.blob->digest);
    std::string buffer(kPiece, '\0');
    while (size_t got = TRY(source.read(buffer))) {
      TRY(intake.write(std::string_view(buffer).substr(0, got)));
      flight.bytes = intake.size();
      meter.at(intake.size());
    }
    // What is there of it stays for the next try.
    if (intake.size() < task.blob->size)
      return fail(ErrorKind::kUnavailable, "blob %s: unexpected EOF after %lld of %lld bytes",
                  task.blob->digest.c_str(), static_cast<long long>(intake.size()),
                  static_cast<long long>(task.blob->size));
    return finish_blob(intake, task, flight);
  }

  Result<> finish_blob(BlobIntake& intake, const LayerTask& task, TransferBoard::Flight& flight) {
    TRY(intake.finish());
    flight.phase = TransferBoard::Phase::kUnpacking;
    say_downloaded(task);
    return {};
  }

  Result<> add_layer(const LayerTask& task, UniqueFd tar, std::function<void(int64_t)> on_bytes = {}) {
    MeteredSource source(tar.get(), unpacked_limit(task.blob->size), "layer " + task.blob->digest + " unpacked",
                         std::move(on_bytes));
    return store_.add_layer(task.diff_id, task.parents, source);
  }

  // The blob is in the store, its layer is not: a pull that was cut short, or a layer that must wait for its parents.
  Result<> unpack(size_t index) {
    TRY(wait_for_parents(index));
    const LayerTask& task = tasks_[index];
    UniqueFd blob = TRY(store_.open_blob(task.blob->digest));
    // The worker reads by way of the same open file, so its position tells how far it is.
    UniqueFd position(fcntl(blob.get(), F_DUPFD_CLOEXEC, 0));
    TransferMeter meter(sink_, "Extracting", task.id, task.blob->size);
    Pipe tar = TRY(make_pipe());
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(blob));
    fds.push_back(std::move(tar.write_end));
    Result<FetchReply> reply;
    std::thread caller([&] { reply = session_.call(FetchJob{.kind = "unpack"}, std::move(fds)); });
    auto unpacked = add_layer(task, std::move(tar.read_end), [&](int64_t) {
      meter.at(std::clamp<int64_t>(lseek(position.get(), 0, SEEK_CUR), 0, task.blob->size));
    });
    caller.join();
    if (!reply) return std::unexpected(std::move(reply).error());
    if (!unpacked) return unpacked;
    meter.at(task.blob->size);
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

  static std::unexpected<Error> blob_error(const LayerTask& task, Error error) {
    if (error.kind == ErrorKind::kCorrupt)
      return fail(ErrorKind::kCorrupt, "filesystem layer verification failed for digest %s", task.blob->digest.c_str());
    return std::unexpected(std::move(error));
  }

  ImageStore& store_;
  FetchSession& session_;
  const std::atomic<bool>* cancel_;
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

Result<> pull_layers(ImageStore& store, FetchSession& session, const PullOptions& options,
                     const spec::Manifest& manifest, const spec::ImageConfig& config, ProgressSink& sink) {
  std::vector<LayerTask> tasks;
  std::set<std::string> seen;
  for (size_t i = 0; i < manifest.layers.size(); ++i) {
    auto first = config.rootfs.diff_ids.begin();
    LayerTask task{&manifest.layers[i],
                   config.rootfs.diff_ids[i],
                   {first, first + static_cast<ptrdiff_t>(i)},
                   short_digest(manifest.layers[i].digest)};
    bool is_here = store.has_blob(task.blob->digest) && store.has_layer(task.diff_id);
    bool repeated = !seen.insert(task.diff_id).second;
    if (repeated || is_here) {
      if (!repeated) sink.send(layer_line("Already exists", task.id));
      continue;
    }
    sink.send(layer_line("Pulling fs layer", task.id));
    tasks.push_back(std::move(task));
  }
  int threads = std::clamp(static_cast<int>(tasks.size()), 0, std::max(1, options.max_parallel));
  for (size_t i = static_cast<size_t>(threads); i < tasks.size(); ++i) sink.send(layer_line("Waiting", tasks[i].id));
  return LayerPuller(store, session, options.cancel, sink, std::move(tasks)).run(threads);
}

}  // namespace caisson::image
