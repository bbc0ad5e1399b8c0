// SPDX-License-Identifier: Apache-2.0
// The least that bringing in an image costs, for ratios: no engine, no protection, no database, no progress.
//   pull HOST PORT REPOSITORY DEST THREADS KEEP DIGEST...   download, hash, gunzip, hash, write the files; flush once
//   load ARCHIVE DEST KEEP                                  a docker-archive of plain layers through a socket, the same
//   save FILE BLOB...                                       stored blobs into one tar through a socket, into a file
// KEEP 1 stores the blobs beside the files, as an engine does that will push or save them again. The archives are the
// bench's own, so nothing here defends itself against them.
#include <arpa/inet.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr size_t kBuffer = 256 << 10;

[[noreturn]] void die(const std::string& what) {
  fprintf(stderr, "floor_image: %s: %s\n", what.c_str(), strerror(errno));
  exit(1);
}

void write_fully(int fd, const char* data, size_t size) {
  while (size > 0) {
    ssize_t done = write(fd, data, size);
    if (done <= 0) die("write");
    data += done;
    size -= static_cast<size_t>(done);
  }
}

class Sha {
 public:
  Sha() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_, EVP_sha256(), nullptr); }
  ~Sha() { EVP_MD_CTX_free(context_); }
  void add(const char* data, size_t size) { EVP_DigestUpdate(context_, data, size); }
  std::string hex() {
    unsigned char out[32];
    EVP_DigestFinal_ex(context_, out, nullptr);
    std::string text;
    char pair[3];
    for (unsigned char byte : out) text.append(pair, static_cast<size_t>(snprintf(pair, sizeof pair, "%02x", byte)));
    return text;
  }

 private:
  EVP_MD_CTX* context_;
};

// Files from tar bytes that are pushed in; ustar and pax paths, which is what the bench's image holds.
class Unpacker {
 public:
  explicit Unpacker(const std::string& root) : root_(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (root_ < 0) die(root);
  }
  ~Unpacker() {
    finish_file();
    for (auto& [path, time] : directories_) set_time(path.c_str(), time);
    close(root_);
  }
  void add(const char* data, size_t size) {
    while (size > 0) {
      size_t used = left_ > 0 ? take_data(data, size) : skip_ > 0 ? take_padding(size) : take_header(data, size);
      data += used;
      size -= used;
    }
  }

 private:
  size_t take_data(const char* data, size_t size) {
    size_t part = std::min(size, left_);
    if (pax_)
      pax_text_.append(data, part);
    else
      write_fully(file_, data, part);
    left_ -= part;
    return part;
  }
  size_t take_padding(size_t size) {
    size_t part = std::min(size, skip_);
    skip_ -= part;
    return part;
  }
  size_t take_header(const char* data, size_t size) {
    size_t part = std::min(size, sizeof block_ - have_);
    memcpy(block_ + have_, data, part);
    have_ += part;
    if (have_ == sizeof block_) {
      have_ = 0;
      if (block_[0]) start_member();
    }
    return part;
  }
  uint64_t octal(size_t at, size_t width) const {
    return strtoull(std::string(block_ + at, width).c_str(), nullptr, 8);
  }
  std::string text(size_t at, size_t width) const { return std::string(block_ + at, strnlen(block_ + at, width)); }
  void start_member() {
    finish_file();
    char type = block_[156];
    left_ = octal(124, 12);
    skip_ = (512 - left_ % 512) % 512;
    pax_ = type == 'x';
    if (pax_) return pax_text_.clear();
    std::string path = text(0, 100), link = text(157, 100);
    if (std::string prefix = text(345, 155); !prefix.empty()) path = prefix + "/" + path;
    take_pax(path, link);
    while (path.ends_with('/')) path.pop_back();
    if (path.empty()) path = ".";
    mode_t mode = static_cast<mode_t>(octal(100, 8));
    uid_t uid = static_cast<uid_t>(octal(108, 8));
    gid_t gid = static_cast<gid_t>(octal(116, 8));
    time_t time = static_cast<time_t>(octal(136, 12));
    if (type == '5') {
      if (mkdirat(root_, path.c_str(), 0700) < 0 && errno != EEXIST) die("mkdir " + path);
      if (fchownat(root_, path.c_str(), uid, gid, 0) < 0 || fchmodat(root_, path.c_str(), mode, 0) < 0) die(path);
      directories_.emplace_back(path, time);
    } else if (type == '2') {
      if (symlinkat(link.c_str(), root_, path.c_str()) < 0) die("symlink " + path);
      if (fchownat(root_, path.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) < 0) die(path);
      set_time(path.c_str(), time);
    } else if (type == '1') {
      if (linkat(root_, link.c_str(), root_, path.c_str(), 0) < 0) die("link " + path);
    } else {
      file_ = openat(root_, path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
      if (file_ < 0 || fchown(file_, uid, gid) < 0 || fchmod(file_, mode) < 0) die("open " + path);
      file_time_ = time;
    }
  }
  void take_pax(std::string& path, std::string& link) {
    for (size_t at = 0; at < pax_text_.size();) {
      size_t size = strtoull(pax_text_.c_str() + at, nullptr, 10), space = pax_text_.find(' ', at);
      std::string record = pax_text_.substr(space + 1, at + size - space - 2);
      if (record.starts_with("path=")) path = record.substr(5);
      if (record.starts_with("linkpath=")) link = record.substr(9);
      at += size;
    }
    pax_text_.clear();
  }
  void finish_file() {
    if (file_ < 0) return;
    timespec times[2] = {{0, UTIME_OMIT}, {file_time_, 0}};
    if (futimens(file_, times) < 0) die("utimens");
    close(file_);
    file_ = -1;
  }
  void set_time(const char* path, time_t time) {
    timespec times[2] = {{0, UTIME_OMIT}, {time, 0}};
    if (utimensat(root_, path, times, AT_SYMLINK_NOFOLLOW) < 0) die(path);
  }

  int root_, file_ = -1;
  char block_[512];
  size_t have_ = 0, left_ = 0, skip_ = 0;
  bool pax_ = false;
  time_t file_time_ = 0;
  std::string pax_text_;
  std::vector<std::pair<std::string, time_t>> directories_;
};

std::string make_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0755) < 0) die("mkdir " + path);
  return path;
}

// chattr +T, as the engine does with its layers: after a big removal ext4 looks long for inodes otherwise.
std::string make_destination(const std::string& path) {
  make_directory(path);
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), flags = 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
    flags |= FS_TOPDIR_FL;
    (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
  }
  close(fd);
  return path;
}

int create(const std::string& path) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) die("open " + path);
  return fd;
}

int connect_to(const char* host, int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, host, &address.sin_addr);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) die("connect");
  return fd;
}

// One layer from the first byte of the answer to the last file.
void pull_layer(int connection, const std::string& digest, const std::string& dest, bool keep) {
  std::vector<char> in(kBuffer), out(kBuffer);
  size_t have = 0;
  std::string_view head;
  while (head.find("\r\n\r\n") == head.npos) {
    ssize_t got = recv(connection, in.data() + have, in.size() - have, 0);
    if (got <= 0) die("recv");
    have += static_cast<size_t>(got);
    head = {in.data(), have};
  }
  size_t length_at = head.find("Content-Length: "), start = head.find("\r\n\r\n") + 4;
  if (!head.starts_with("HTTP/1.1 200") || length_at == head.npos) die("answer");
  size_t left = strtoull(head.data() + length_at + 16, nullptr, 10);

  Sha packed, plain;
  Unpacker unpacker(make_directory(dest + "/" + digest));
  int blob = keep ? create(dest + "/" + digest + ".blob") : -1;
  inflate_state state;
  isal_inflate_init(&state);
  state.crc_flag = ISAL_GZIP;
  std::string_view part = head.substr(start);
  while (true) {
    packed.add(part.data(), part.size());
    if (keep) write_fully(blob, part.data(), part.size());
    left -= part.size();
    state.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(part.data()));
    state.avail_in = static_cast<uint32_t>(part.size());
    do {
      state.next_out = reinterpret_cast<uint8_t*>(out.data());
      state.avail_out = static_cast<uint32_t>(out.size());
      if (isal_inflate(&state) != ISAL_DECOMP_OK) die("inflate");
      size_t made = out.size() - state.avail_out;
      plain.add(out.data(), made);
      unpacker.add(out.data(), made);
    } while (state.avail_out == 0);
    if (left == 0) break;
    ssize_t got = recv(connection, in.data(), std::min(in.size(), left), 0);
    if (got <= 0) die("recv");
    part = {in.data(), static_cast<size_t>(got)};
  }
  if (keep) close(blob);
  if (packed.hex() != digest) die("digest of " + digest);
  (void)plain.hex();
}

void flush(const std::string& dest) {
  int fd = open(dest.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || syncfs(fd) < 0) die("syncfs");
  close(fd);
}

int pull(char** arguments, int count) {
  if (count < 7) return 2;
  const char *host = arguments[0], *repository = arguments[2];
  int port = atoi(arguments[1]);
  std::string dest = make_destination(arguments[3]);
  bool keep = arguments[5][0] == '1';
  std::atomic<int> next = 6;
  auto work = [&] {
    for (int i; (i = next++) < count;) {
      int connection = connect_to(host, port);
      std::string request = std::string("GET /v2/") + repository + "/blobs/sha256:" + arguments[i] +
                            " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n";
      write_fully(connection, request.data(), request.size());
      pull_layer(connection, arguments[i], dest, keep);
      close(connection);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < atoi(arguments[4]); ++i) threads.emplace_back(work);
  for (auto& thread : threads) thread.join();
  flush(dest);
  return 0;
}

// Copies `from` to its end into `consume`.
void copy(int from, const std::function<void(const char*, size_t)>& consume) {
  std::vector<char> buffer(kBuffer);
  while (true) {
    ssize_t got = read(from, buffer.data(), buffer.size());
    if (got < 0) die("read");
    if (got == 0) return;
    consume(buffer.data(), static_cast<size_t>(got));
  }
}

int load(char** arguments, int count) {
  if (count != 3) return 2;
  std::string dest = make_destination(arguments[1]);
  bool keep = arguments[2][0] == '1';
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die("socketpair");
  std::thread client([&] {
    int archive = open(arguments[0], O_RDONLY | O_CLOEXEC);
    if (archive < 0) die(arguments[0]);
    copy(archive, [&](const char* data, size_t size) { write_fully(pair[0], data, size); });
    close(archive);
    shutdown(pair[0], SHUT_WR);
  });
  // The outer archive is read block by block; every member that is a layer is hashed and unpacked.
  FILE* in = fdopen(pair[1], "r");
  setvbuf(in, nullptr, _IOFBF, kBuffer);
  char block[512];
  std::vector<char> buffer(kBuffer);
  for (int number = 0; fread(block, sizeof block, 1, in) == 1;) {
    if (!block[0]) continue;
    uint64_t size = strtoull(std::string(block + 124, 12).c_str(), nullptr, 8), padded = (size + 511) / 512 * 512;
    bool is_layer = std::string_view(block, strnlen(block, 100)).ends_with("layer.tar");
    Sha sha;
    std::string path = dest + "/" + std::to_string(number++);
    std::optional<Unpacker> unpacker;
    if (is_layer) unpacker.emplace(make_directory(path));
    int blob = is_layer && keep ? create(path + ".blob") : -1;
    for (uint64_t at = 0; at < padded;) {
      size_t part = fread(buffer.data(), 1, std::min<uint64_t>(buffer.size(), padded - at), in);
      if (part == 0) die("archive");
      size_t data = at < size ? std::min<uint64_t>(part, size - at) : 0;
      sha.add(buffer.data(), data);
      if (is_layer) unpacker->add(buffer.data(), data);
      if (blob >= 0) write_fully(blob, buffer.data(), data);
      at += part;
    }
    (void)sha.hex();
    if (blob >= 0) close(blob);
  }
  fclose(in);
  client.join();
  flush(dest);
  return 0;
}

int save(char** arguments, int count) {
  if (count < 2) return 2;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die("socketpair");
  std::thread engine([&] {
    for (int i = 1; i < count; ++i) {
      int blob = open(arguments[i], O_RDONLY | O_CLOEXEC);
      if (blob < 0) die(arguments[i]);
      char header[512] = {};
      write_fully(pair[0], header, sizeof header);
      copy(blob, [&](const char* data, size_t size) { write_fully(pair[0], data, size); });
      close(blob);
    }
    shutdown(pair[0], SHUT_WR);
  });
  int out = create(arguments[0]);
  copy(pair[1], [&](const char* data, size_t size) { write_fully(out, data, size); });
  engine.join();
  close(out);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::string mode = argc > 1 ? argv[1] : "";
  int code = 2;
  if (mode == "pull") code = pull(argv + 2, argc - 2);
  if (mode == "load") code = load(argv + 2, argc - 2);
  if (mode == "save") code = save(argv + 2, argc - 2);
  if (code == 2) fprintf(stderr, "usage: see the head of bench/floor_image.cc\n");
  return code;
}
