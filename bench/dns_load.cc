// SPDX-License-Identifier: Apache-2.0
// Name queries at full speed, and the least a server can do with them, for ./dev bench dns.
//   dns_load ADDRESS PORT COUNT NAME   keeps 64 queries under way, prints queries a second
//   dns_load --echo ADDRESS            prints its port, then sends back what comes, one by one
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace {

constexpr int kWindow = 64;
constexpr int kLostMs = 200;

double now() {
  timespec at{};
  clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) / 1e9;
}

sockaddr_in address_of(const char* text, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

int echo(const char* text) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address = address_of(text, 0);
  socklen_t size = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) < 0) return 1;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    char buffer[4096];
    size = sizeof address;
    ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&address), &size);
    if (got > 0) (void)!sendto(fd, buffer, static_cast<size_t>(got), 0, reinterpret_cast<sockaddr*>(&address), size);
  }
}

std::string query_for(const char* name) {
  std::string out("\0\0\1\0\0\1\0\0\0\0\0\0", 12);
  out.push_back(static_cast<char>(strlen(name)));
  out += name;
  return out + std::string("\0\0\1\0\1", 5);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "--echo") == 0) return echo(argv[2]);
  if (argc != 5) return 2;
  sockaddr_in address = address_of(argv[1], atoi(argv[2]));
  long count = atol(argv[3]);
  std::string query = query_for(argv[4]);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) return 1;
  long sent = 0, answered = 0, lost = 0;
  double start = now();
  while (answered + lost < count) {
    while (sent < count && sent - answered - lost < kWindow) {
      if (send(fd, query.data(), query.size(), 0) < 0) break;
      ++sent;
    }
    pollfd entry{fd, POLLIN, 0};
    if (poll(&entry, 1, kLostMs) <= 0) {
      lost = sent - answered;
      continue;
    }
    char reply[4096];
    while (recv(fd, reply, sizeof reply, MSG_DONTWAIT) > 0) ++answered;
  }
  printf("%.0f %ld\n", static_cast<double>(answered) / (now() - start), lost);
  return 0;
}
