// SPDX-License-Identifier: Apache-2.0
// A stand-in for libFuzzer in the test run: feeds the seed files, then mutations of them from a fixed
// random sequence, so that every fuzzer is at least exercised where clang is absent. Both limits hold;
// with the one on mutations a faster machine does not go where no other has been.
//   x_smoke SECONDS [SEED-DIRECTORY [MUTATIONS]]
#include <dirent.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::string current_input;

std::vector<std::string> read_seeds(const std::string& directory) {
  std::vector<std::string> seeds;
  if (DIR* dir = opendir(directory.c_str())) {
    while (dirent* entry = readdir(dir)) {
      FILE* file = entry->d_name[0] == '.' ? nullptr : fopen((directory + "/" + entry->d_name).c_str(), "rb");
      if (!file) continue;
      std::string data(1 << 20, '\0');
      data.resize(fread(data.data(), 1, data.size(), file));
      fclose(file);
      seeds.push_back(std::move(data));
    }
    closedir(dir);
  }
  std::sort(seeds.begin(), seeds.end());  // the order of a directory differs between file systems
  return seeds;
}

struct Random {
  uint64_t state = 0x9E3779B97F4A7C15;
  uint64_t below(uint64_t limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return limit ? state % limit : 0;
  }
};

void mutate(std::string& data, const std::vector<std::string>& seeds, Random& random) {
  for (uint64_t rounds = 1 + random.below(6); rounds > 0; --rounds) {
    size_t at = random.below(data.size() + 1);
    switch (random.below(7)) {
      case 0: data.insert(at, 1, static_cast<char>(random.below(256))); break;
      case 1: data.erase(at, random.below(16)); break;
      case 2:
        if (at < data.size()) data[at] = static_cast<char>(random.below(256));
        break;
      case 3:
        if (at < data.size()) data[at] ^= static_cast<char>(1 << random.below(8));
        break;
      case 4: data.resize(at); break;
      case 5: data.insert(at, data.substr(random.below(data.size() + 1), random.below(64))); break;
      default: {
        const std::string& other = seeds[random.below(seeds.size())];
        data = data.substr(0, at) + other.substr(random.below(other.size() + 1));
      }
    }
  }
  if (data.size() > 1 << 16) data.resize(1 << 16);
}

void feed(const std::string& data) {
  current_input = data;  // for a look in the debugger
  // A copy of the exact size, so that reading one byte too far is seen.
  std::vector<uint8_t> copy(data.begin(), data.end());
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = argc > 1 ? atof(argv[1]) : 1;
  std::vector<std::string> seeds;
  if (argc > 2) seeds = read_seeds(argv[2]);
  size_t limit = argc > 3 ? strtoull(argv[3], nullptr, 10) : SIZE_MAX;
  for (const std::string& seed : seeds) feed(seed);
  size_t read = seeds.size();
  seeds.push_back("");
  seeds.push_back("{\"a\": [1, 2.5e3, \"x\\u00e9\"]}");
  Random random;
  auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  size_t count = 0;
  for (; count < limit && std::chrono::steady_clock::now() < end; ++count) {
    std::string data = seeds[random.below(seeds.size())];
    mutate(data, seeds, random);
    feed(data);
  }
  printf("%zu seeds, %zu mutations\n", read, count);
  return 0;
}
