// SPDX-License-Identifier: Apache-2.0
#include "db/database.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <atomic>
#include <thread>

#include "sys/files.h"

using namespace caisson;
using db::Database;
using db::Durability;

namespace {
struct TempDir {
  TempDir() { mkdtemp(path.data()); }
  ~TempDir() { (void)sys::remove_tree(path); }
  std::string path = "/tmp/caisson-db-test-XXXXXX";
};

int64_t count(Database& database, const std::string& sql) {
  int64_t out = -1;
  CHECK(database.query(sql, {}, [&](const db::Row& row) { out = row.integer(0); }));
  return out;
}
}  // namespace

TEST_CASE("database: values come back, NULL reads as empty") {
  TempDir dir;
  auto database = *Database::open(dir.path + "/state.db");
  REQUIRE(database->migrate("m", {"CREATE TABLE t(a INTEGER, b TEXT, c TEXT)"}));
  std::string with_nul("x\0y", 3);
  REQUIRE(database->execute("INSERT INTO t(a, b) VALUES(?1, ?2)", {int64_t{1} << 60, with_nul}));
  int rows = 0;
  CHECK(database->query("SELECT a, b, c FROM t WHERE b=?1", {with_nul}, [&](const db::Row& row) {
    ++rows;
    CHECK(row.integer(0) == int64_t{1} << 60);
    CHECK(row.text(1) == with_nul);
    CHECK(row.text(2) == "");
    CHECK(row.integer(2) == 0);
  }));
  CHECK(rows == 1);
}

TEST_CASE("database: migrations run once, also over a reopening, and a newer schema is refused") {
  TempDir dir;
  std::string path = dir.path + "/state.db";
  {
    auto database = *Database::open(path);
    REQUIRE(database->migrate("m", {"CREATE TABLE t(a)"}));
    REQUIRE(database->migrate("other", {"CREATE TABLE u(a)"}));
  }
  auto database = *Database::open(path);
  REQUIRE(database->migrate("m", {"CREATE TABLE t(a)", "ALTER TABLE t ADD COLUMN b"}));
  CHECK(database->execute("INSERT INTO t(a, b) VALUES(1, 2)"));
  auto refused = database->migrate("m", {"CREATE TABLE t(a)"});
  REQUIRE(!refused);
  CHECK(refused.error().kind == ErrorKind::kUnsupported);
  auto broken = database->migrate("third", {"CREATE TABLE v(a); INSERT INTO nowhere VALUES(1)"});
  CHECK(!broken);
  CHECK(count(*database, "SELECT count(*) FROM sqlite_master WHERE name='v'") == 0);
}

TEST_CASE("database: a transaction is all or nothing and does not nest") {
  TempDir dir;
  auto database = *Database::open(dir.path + "/state.db");
  REQUIRE(database->migrate("m", {"CREATE TABLE t(a INTEGER PRIMARY KEY)"}));
  auto failed = database->transaction([&]() -> Result<> {
    TRY(database->execute("INSERT INTO t VALUES(1)"));
    return fail(ErrorKind::kConflict, "no");
  });
  REQUIRE(!failed);
  CHECK(failed.error().message == "no");
  CHECK(count(*database, "SELECT count(*) FROM t") == 0);
  CHECK(database->transaction([&]() -> Result<> { return database->execute("INSERT INTO t VALUES(1)"); },
                              Durability::kRelaxed));
  auto nested =
      database->transaction([&]() -> Result<> { return database->transaction([]() -> Result<> { return {}; }); });
  CHECK(!nested);
  auto twice = database->execute("INSERT INTO t VALUES(1)");
  REQUIRE(!twice);
  CHECK(twice.error().kind == ErrorKind::kExists);
  CHECK(database->execute("INSERT INTO t VALUES(2)"));
}

TEST_CASE("database: a query inside a query's callback has its own statement") {
  TempDir dir;
  auto database = *Database::open(dir.path + "/state.db");
  REQUIRE(database->migrate("m", {"CREATE TABLE t(a); INSERT INTO t VALUES(1),(2),(3)"}));
  int seen = 0;
  CHECK(database->query("SELECT a FROM t", {}, [&](const db::Row&) {
    CHECK(database->query("SELECT a FROM t", {}, [&](const db::Row&) { ++seen; }));
  }));
  CHECK(seen == 9);
}

TEST_CASE("database: threads take turns") {
  TempDir dir;
  auto database = *Database::open(dir.path + "/state.db");
  REQUIRE(database->migrate("m", {"CREATE TABLE t(a)"}));
  std::atomic<int> failures = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 25; ++i)
          if (!database->transaction(
                  [&]() -> Result<> { return database->execute("INSERT INTO t VALUES(?1)", {int64_t{i}}); },
                  Durability::kRelaxed))
            ++failures;
      });
  }
  CHECK(failures == 0);
  CHECK(count(*database, "SELECT count(*) FROM t") == 100);
}

TEST_CASE("database: a file that is none is refused") {
  TempDir dir;
  REQUIRE(sys::write_file(dir.path + "/state.db", std::string(4096, 'x')));
  auto opened = Database::open(dir.path + "/state.db");
  REQUIRE(!opened);
  CHECK(opened.error().kind == ErrorKind::kCorrupt);
  CHECK(!Database::open(dir.path + "/absent/state.db"));
}
