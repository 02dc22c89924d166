#include "broker/internal/client_quotas.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "base/text.h"
#include "broker/internal/quota_names.h"

namespace millrace::broker {
namespace {

constexpr std::string_view kDefault = "*";
// Where there are too many accounts, idle ones are looked for only so often.
constexpr std::chrono::seconds kSweepPause{1};

bool stands_for_itself(char c) { return c > ' ' && c < 0x7f && c != '%' && c != '*'; }

std::string escaped(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (stands_for_itself(c))
      text += c;
    else
      text += fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return text;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string name;
  while (!text.empty()) {
    if (stands_for_itself(text.front())) {
      name += text.front();
      text.remove_prefix(1);
      continue;
    }
    unsigned code = 0;
    const std::string_view digits = text.substr(1, 2);
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (text.front() != '%' || digits.size() != 2 || failed != std::errc() || end != digits.data() + 2)
      return std::nullopt;
    name += static_cast<char>(code);
    text.remove_prefix(3);
  }
  return name;
}

// "client-id NAME KEY VALUE". False where it is something else.
bool read_line(std::string_view line, QuotaTable& table) {
  const std::vector<std::string_view> words = split(line, ' ');
  if (words.size() != 4 || words[0] != kClientIdEntity) return false;
  std::optional<std::string> client_id;
  if (words[1] != kDefault) {
    client_id = unescaped(words[1]);
    if (!client_id) return false;
  }
  const std::optional<int64_t> rate = parse_int64(words[3]);
  if (!rate || *rate < 1) return false;
  ByteRates& rates = table[client_id];
  if (words[2] == kProducerByteRate)
    rates.produce = rate;
  else if (words[2] == kConsumerByteRate)
    rates.fetch = rate;
  else
    return false;
  return true;
}

std::string to_text(const QuotaTable& table) {
  std::string text;
  for (const auto& [client_id, rates] : table) {
    const std::string name = client_id ? escaped(*client_id) : std::string(kDefault);
    if (rates.produce) text += fmt::format("{} {} {} {}\n", kClientIdEntity, name, kProducerByteRate, *rates.produce);
    if (rates.fetch) text += fmt::format("{} {} {} {}\n", kClientIdEntity, name, kConsumerByteRate, *rates.fetch);
  }
  return text;
}

}  // namespace

ClientQuotas::ClientQuotas(env::FileSystem& files, const std::string& data_dir, const Clock& clock)
    : files_(files), path_(env::join_path(data_dir, "client-quotas")), clock_(clock) {}

Status ClientQuotas::load() {
  constexpr uint64_t kFileBytesMax = 16u << 20;
  const auto content = env::read_file(files_, path_, kFileBytesMax);
  if (!content && content.error().code == Errc::kNotFound) return {};
  if (!content) return tl::unexpected(content.error());
  QuotaTable table;
  for (const std::string_view line : split(as_text(*content), '\n'))
    if (!line.empty() && !read_line(line, table))
      return fail(Errc::kCorruption, fmt::format("{}: '{}' is no quota", path_, line));
  put(std::move(table));
  return {};
}

QuotaTable ClientQuotas::table() const {
  MutexLock lock(mutex_);
  return table_;
}

Status ClientQuotas::set(const QuotaTable& table) {
  MILLRACE_RETURN_IF_ERROR(env::write_file_atomically(files_, path_, as_byte_view(to_text(table))));
  put(table);
  return {};
}

void ClientQuotas::put(QuotaTable table) {
  any_.store(!table.empty(), std::memory_order_relaxed);
  MutexLock lock(mutex_);
  table_ = std::move(table);
  // A debt that was made under another quota is forgiven.
  produced_.clear();
  fetched_.clear();
}

std::optional<int64_t> ClientQuotas::rate_of(std::string_view client_id, QuotaKind kind) const {
  const auto rate_in = [kind](const ByteRates& rates) {
    return kind == QuotaKind::kProduce ? rates.produce : rates.fetch;
  };
  const auto own = table_.find(std::optional<std::string>(client_id));
  if (own != table_.end() && rate_in(own->second)) return rate_in(own->second);
  const auto common = table_.find(std::nullopt);
  return common == table_.end() ? std::nullopt : rate_in(common->second);
}

std::chrono::milliseconds ClientQuotas::charge(std::string_view client_id, QuotaKind kind, uint64_t bytes) {
  using FloatSeconds = std::chrono::duration<double>;
  using std::chrono::milliseconds;
  if (!any_.load(std::memory_order_relaxed)) return milliseconds(0);
  const MonoTime now = clock_.mono_now();
  MutexLock lock(mutex_);
  const std::optional<int64_t> rate = rate_of(client_id, kind);
  if (!rate) return milliseconds(0);
  const auto per_s = static_cast<double>(*rate);
  const double full = per_s * FloatSeconds(kBurst).count();
  Account& account = account_of(kind == QuotaKind::kProduce ? produced_ : fetched_, client_id, {full, now});
  account.bytes = std::min(full, account.bytes + per_s * FloatSeconds(now - account.at).count());
  account.at = now;
  account.bytes = std::max(account.bytes - static_cast<double>(bytes), -per_s * FloatSeconds(kDebtMax).count());
  if (account.bytes >= 0) return milliseconds(0);
  return std::chrono::ceil<milliseconds>(FloatSeconds(-account.bytes / per_s));
}

ClientQuotas::Account& ClientQuotas::account_of(Accounts& accounts, std::string_view client_id, const Account& fresh) {
  const auto known = accounts.find(client_id);
  if (known != accounts.end()) return known->second;
  if (accounts.size() >= kAccountsMax && fresh.at - swept_at_ >= kSweepPause) {
    swept_at_ = fresh.at;
    // Whoever was not charged for so long has paid its debt and saved its burst: as good as new.
    std::erase_if(accounts, [&](const auto& entry) { return fresh.at - entry.second.at > kDebtMax + kBurst; });
  }
  if (accounts.size() >= kAccountsMax) client_id = {};
  return accounts.try_emplace(std::string(client_id), fresh).first->second;
}

}  // namespace millrace::broker
