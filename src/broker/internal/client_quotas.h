#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "env/file_system.h"

namespace millrace::broker {

// Bytes a second that clients with one client id may send in produce requests, or get as records, all of them together.
struct ByteRates {
  std::optional<int64_t> produce;  // producer_byte_rate
  std::optional<int64_t> fetch;    // consumer_byte_rate

  bool empty() const { return !produce && !fetch; }
  friend bool operator==(const ByteRates&, const ByteRates&) = default;
};

// By client id; the entry without one is the default, of each client id that has none of its own. No entry is empty.
using QuotaTable = std::map<std::optional<std::string>, ByteRates>;

enum class QuotaKind { kProduce, kFetch };

// Kafka's client quotas, for client ids: set while the broker runs, and kept in the data folder's file "client-quotas"
// (docs/formats/client-quotas.md). Each client id has an account that fills at its rate and holds kBurst of it at most;
// who overdraws it is answered, and then not read from until the debt is paid. Thread-safe; where no quota is set,
// charge() is one load.
class ClientQuotas {
 public:
  // What may come at once after a pause: as much as ten seconds' worth, the window over which Kafka takes its averages.
  static constexpr std::chrono::seconds kBurst{10};
  // No debt is larger, and so no connection is muted for longer: clients give a request up after 30 s. A client whose
  // single requests are worth more than that comes over its quota.
  static constexpr std::chrono::seconds kDebtMax{20};
  // Accounts kept; client ids beyond share one.
  static constexpr size_t kAccountsMax = 10'000;
  // Client ids that may have quotas of their own, the default among them.
  static constexpr size_t kEntitiesMax = 10'000;

  ClientQuotas(env::FileSystem& files, const std::string& data_dir, const Clock& clock);

  // Read the file, once, before the others. Nothing is set where there is none. kCorruption names the line that cannot
  // be.
  Status load() EXCLUDES(mutex_);
  QuotaTable table() const EXCLUDES(mutex_);
  // Put `table` in place of what is set. Durable on return, and held to from now on. Not on a network thread.
  Status set(const QuotaTable& table) EXCLUDES(mutex_);

  // Count `bytes` against a client id's account, and say for how long its connection must not be read: 0 as long as it
  // keeps to its quota.
  std::chrono::milliseconds charge(std::string_view client_id, QuotaKind kind, uint64_t bytes) EXCLUDES(mutex_);

 private:
  struct Account {
    double bytes = 0;  // below zero: a debt
    MonoTime at;       // when that was
  };
  using Accounts = std::map<std::string, Account, std::less<>>;

  std::optional<int64_t> rate_of(std::string_view client_id, QuotaKind kind) const REQUIRES(mutex_);
  Account& account_of(Accounts& accounts, std::string_view client_id, const Account& fresh) REQUIRES(mutex_);
  void put(QuotaTable table) EXCLUDES(mutex_);

  env::FileSystem& files_;
  const std::string path_;
  const Clock& clock_;
  std::atomic<bool> any_{false};
  mutable Mutex mutex_;
  QuotaTable table_ GUARDED_BY(mutex_);
  Accounts produced_ GUARDED_BY(mutex_);
  Accounts fetched_ GUARDED_BY(mutex_);
  MonoTime swept_at_ GUARDED_BY(mutex_);
};

}  // namespace millrace::broker
