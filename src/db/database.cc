// SPDX-License-Identifier: Apache-2.0
// Database over the SQLite C interface: cached statements, WAL, two levels of durability.
#include "db/database.h"

#include <sqlite3.h>

#include <mutex>
#include <unordered_map>

#include "base/text.h"

namespace caisson::db {
namespace {

ErrorKind kind_of_code(int code) {
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT: return ErrorKind::kExists;
    case SQLITE_FULL:
    case SQLITE_NOMEM: return ErrorKind::kExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ErrorKind::kCorrupt;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ErrorKind::kUnavailable;
    case SQLITE_READONLY:
    case SQLITE_PERM: return ErrorKind::kDenied;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE: return ErrorKind::kInternal;
    default: return ErrorKind::kIo;
  }
}

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

class StatementRow : public Row {
 public:
  explicit StatementRow(sqlite3_stmt* statement) : statement_(statement) {}
  int64_t integer(int column) const override { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) const override {
    // column_text before column_bytes: the conversion decides the size.
    auto data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return data ? std::string(data, static_cast<size_t>(sqlite3_column_bytes(statement_, column))) : std::string();
  }

 private:
  sqlite3_stmt* statement_;
};

class SqliteDatabase : public Database {
 public:
  explicit SqliteDatabase(sqlite3* handle) : handle_(handle) {}
  ~SqliteDatabase() override {
    statements_.clear();
    sqlite3_close(handle_);
  }

  Result<> set_up();
  Result<> migrate(std::string_view name, const std::vector<std::string>& steps) override;
  Result<> execute(std::string_view sql, const std::vector<Value>& values, Durability durability) override;
  Result<> query(std::string_view sql, const std::vector<Value>& values,
                 const std::function<void(const Row&)>& each) override;
  Result<> transaction(const std::function<Result<>()>& body, Durability durability) override;

 private:
  static constexpr size_t kMaxCached = 200;

  std::unexpected<Error> failure(int code, std::string_view doing) {
    return fail(kind_of_code(code), "database: %.*s: %s", static_cast<int>(doing.size()), doing.data(),
                sqlite3_errmsg(handle_));
  }
  Result<> run_script(const std::string& sql) {
    int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return failure(code, sql);
    return {};
  }
  Result<> set_durability(Durability durability);
  Result<Statement> take_statement(const std::string& sql, const std::vector<Value>& values);
  void give_back(const std::string& sql, Statement statement);
  Result<> step_all(std::string_view sql, const std::vector<Value>& values,
                    const std::function<void(const Row&)>* each);

  sqlite3* handle_;
  // Recursive: execute() and query() run inside the body of transaction() on the same thread.
  std::recursive_mutex mutex_;
  bool in_transaction_ = false;
  Durability durability_ = Durability::kFull;
  // A statement in use is out of the map, so a query inside a query's callback gets its own.
  std::unordered_map<std::string, Statement> statements_;
};

Result<> SqliteDatabase::set_up() {
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_timeout(handle_, 5000);
  TRY(run_script("PRAGMA journal_mode=WAL"));
  TRY(run_script("PRAGMA synchronous=FULL"));
  TRY(run_script("PRAGMA foreign_keys=ON"));
  return run_script("CREATE TABLE IF NOT EXISTS schema_version(name TEXT PRIMARY KEY, version INTEGER NOT NULL)");
}

// PRAGMA synchronous has no effect inside a transaction, where the outermost choice stays.
Result<> SqliteDatabase::set_durability(Durability durability) {
  if (in_transaction_ || durability == durability_) return {};
  TRY(run_script(durability == Durability::kFull ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"));
  durability_ = durability;
  return {};
}

Result<Statement> SqliteDatabase::take_statement(const std::string& sql, const std::vector<Value>& values) {
  Statement statement;
  if (auto found = statements_.find(sql); found != statements_.end()) {
    statement = std::move(found->second);
    statements_.erase(found);
  } else {
    sqlite3_stmt* made = nullptr;
    int code = sqlite3_prepare_v3(handle_, sql.c_str(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &made,
                                  nullptr);
    if (code != SQLITE_OK) return failure(code, sql);
    if (!made) return fail(ErrorKind::kInternal, "database: empty statement");
    statement.reset(made);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    int index = static_cast<int>(i) + 1, code;
    if (auto number = std::get_if<int64_t>(&values[i]))
      code = sqlite3_bind_int64(statement.get(), index, *number);
    else {
      const std::string& text = std::get<std::string>(values[i]);
      code = sqlite3_bind_text64(statement.get(), index, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
    }
    if (code != SQLITE_OK) return failure(code, sql);
  }
  return statement;
}

void SqliteDatabase::give_back(const std::string& sql, Statement statement) {
  sqlite3_reset(statement.get());
  sqlite3_clear_bindings(statement.get());
  if (statements_.size() < kMaxCached) statements_.emplace(sql, std::move(statement));
}

Result<> SqliteDatabase::step_all(std::string_view sql_view, const std::vector<Value>& values,
                                  const std::function<void(const Row&)>* each) {
  std::string sql(sql_view);
  Statement statement = TRY(take_statement(sql, values));
  StatementRow row(statement.get());
  int code;
  while ((code = sqlite3_step(statement.get())) == SQLITE_ROW)
    if (each) (*each)(row);
  if (code != SQLITE_DONE) return failure(code, sql);
  give_back(sql, std::move(statement));
  return {};
}

Result<> SqliteDatabase::execute(std::string_view sql, const std::vector<Value>& values, Durability durability) {
  std::lock_guard lock(mutex_);
  TRY(set_durability(durability));
  return step_all(sql, values, nullptr);
}

Result<> SqliteDatabase::query(std::string_view sql, const std::vector<Value>& values,
                               const std::function<void(const Row&)>& each) {
  std::lock_guard lock(mutex_);
  return step_all(sql, values, &each);
}

Result<> SqliteDatabase::transaction(const std::function<Result<>()>& body, Durability durability) {
  std::lock_guard lock(mutex_);
  if (in_transaction_) return fail(ErrorKind::kInternal, "database: transaction inside a transaction");
  TRY(set_durability(durability));
  TRY(run_script("BEGIN IMMEDIATE"));
  in_transaction_ = true;
  auto done = body();
  if (done) done = run_script("COMMIT");
  in_transaction_ = false;
  // A full disk may have rolled back already; then there is nothing left to undo.
  if (!done && !sqlite3_get_autocommit(handle_)) sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
  return done;
}

Result<> SqliteDatabase::migrate(std::string_view name, const std::vector<std::string>& steps) {
  std::lock_guard lock(mutex_);
  int64_t version = 0;
  TRY(query("SELECT version FROM schema_version WHERE name=?1", {std::string(name)},
            [&](const Row& row) { version = row.integer(0); }));
  if (version > static_cast<int64_t>(steps.size()))
    return fail(ErrorKind::kUnsupported, "database: '%.*s' has schema version %lld, written by a newer release",
                static_cast<int>(name.size()), name.data(), static_cast<long long>(version));
  for (size_t step = static_cast<size_t>(version); step < steps.size(); ++step) {
    auto run_step = [&]() -> Result<> {
      TRY(run_script(steps[step]));
      return execute("INSERT OR REPLACE INTO schema_version(name, version) VALUES(?1, ?2)",
                     {std::string(name), static_cast<int64_t>(step) + 1}, Durability::kFull);
    };
    TRY(transaction(run_step, Durability::kFull));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::string& path) {
  sqlite3* handle = nullptr;
  // NOMUTEX: the wrapper's own lock serialises all use.
  int code =
      sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (!handle) return fail(ErrorKind::kExhausted, "database: open '%s': out of memory", path.c_str());
  auto database = std::make_unique<SqliteDatabase>(handle);
  if (code != SQLITE_OK)
    return fail(kind_of_code(code), "database: open '%s': %s", path.c_str(), sqlite3_errmsg(handle));
  TRY_CTX(database->set_up(), quoted(path));
  return std::unique_ptr<Database>(std::move(database));
}

}  // namespace caisson::db
