// SPDX-License-Identifier: Apache-2.0
#include "engine/event_journal.h"

#include <doctest/doctest.h>

#include <cstdlib>

#include "base/text.h"
#include "sys/files.h"

using namespace caisson;
using namespace caisson::engine;

namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/caisson-journal-XXXXXX";
    path = mkdtemp(name);
  }
  ~Directory() { CHECK(sys::remove_tree(path)); }
  std::string path;
};

std::string line(int64_t time) { return event_json({"container", "start", "id", {{"name", "x"}}, time}); }

std::string times(const EventJournal& journal, int64_t from, int64_t to) {
  std::string out;
  journal.replay(from, to, [&](const Event& event) { out += std::to_string(event.time_ns) + " "; });
  return out;
}

}  // namespace

TEST_CASE("events come back after a restart, a torn line does not") {
  Directory directory;
  std::string path = directory.path + "/events";
  {
    auto journal = EventJournal::open(path);
    REQUIRE(journal);
    for (int64_t time : {10, 20, 30}) journal->append(line(time));
  }
  auto text = *sys::read_file(path);
  REQUIRE(sys::write_file(path, text + "{\"Type\":\"cont"));
  auto journal = EventJournal::open(path);
  REQUIRE(journal);
  CHECK(journal->last_ns() == 30);
  journal->append(line(40));
  CHECK(times(*journal, 0, 100) == "10 20 30 40 ");
  CHECK(times(*journal, 20, 40) == "20 30 ");
  journal->replay(10, 11, [](const Event& event) {
    CHECK(event.type == "container");
    CHECK(event.action == "start");
    CHECK(event.id == "id");
    CHECK(event.attributes.at("name") == "x");
  });
}

TEST_CASE("the journal is bounded, the newest stay") {
  Directory directory;
  auto journal = EventJournal::open(directory.path + "/events", 2000);
  REQUIRE(journal);
  for (int64_t time = 1; time <= 500; ++time) journal->append(line(time));
  auto shown = times(*journal, 0, 1000);
  CHECK(shown.ends_with("498 499 500 "));
  CHECK_FALSE(shown.starts_with("1 "));
  int64_t size = 0;
  for (auto name : {"/events", "/events.1"})
    size += static_cast<int64_t>(sys::read_file(directory.path + name)->size());
  CHECK(size <= 4000);
}

TEST_CASE("what is no event is passed over") {
  Directory directory;
  std::string path = directory.path + "/events";
  REQUIRE(sys::write_file(path, "nonsense\n{}\n" + line(5) + "[1]\n"));
  auto journal = EventJournal::open(path);
  REQUIRE(journal);
  CHECK(times(*journal, 0, 100) == "5 ");
}
