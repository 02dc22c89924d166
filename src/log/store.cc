#include "log/store.h"

#include <algorithm>

#include "log/internal/store_impl.h"

namespace millrace::log {

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

Result<std::unique_ptr<Store>> Store::open(const StoreOptions& options, env::FileSystem& files, const Clock& clock,
                                           Random& random) {
  auto impl = std::make_unique<Impl>(options, files, clock);
  MILLRACE_RETURN_IF_ERROR(impl->open(random));
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Status Store::close() { return impl_->close(); }
const Uuid& Store::cluster_id() const { return impl_->cluster_id(); }
bool Store::recovered_from_crash() const { return impl_->recovered_from_crash(); }

Result<std::shared_ptr<const Topic>> Store::create_topic(const TopicInfo& info) { return impl_->create_topic(info); }
Result<std::shared_ptr<const Topic>> Store::add_partitions(const std::string& name, int32_t count) {
  return impl_->add_partitions(name, count);
}
Result<std::shared_ptr<const Topic>> Store::set_topic_config(const std::string& name,
                                                             std::map<std::string, std::string> config) {
  return impl_->set_topic_config(name, std::move(config));
}
Status Store::delete_topic(const std::string& name) { return impl_->delete_topic(name); }
std::vector<std::shared_ptr<const Topic>> Store::topics() const { return impl_->topics(); }
std::shared_ptr<const Topic> Store::find_topic(std::string_view name) const { return impl_->find_topic(name); }
std::shared_ptr<const Topic> Store::find_topic(const Uuid& id) const { return impl_->find_topic(id); }

std::vector<Result<Appended>> Store::append_all(std::span<const Item> items, Room* room) {
  return impl_->append_all(items, room);
}
void Store::when_room(size_t batch_bytes, RoomCallback callback) {
  impl_->wal().when_room(encoded_batches_size(batch_bytes), false, std::move(callback));
}
void Store::when_room(std::span<const Item> items, RoomCallback callback) {
  size_t bytes = 0;
  for (const Item& item : items) bytes += encoded_batches_size(item.batches.size());
  const bool from_reserve = std::ranges::all_of(items, [](const Item& item) { return item.options.from_reserve; });
  impl_->wal().when_room(bytes, from_reserve, std::move(callback));
}
bool Store::has_disk_room(size_t batch_bytes) const {
  return impl_->wal().has_disk_room(encoded_batches_size(batch_bytes));
}
void Store::when_durable(WalPosition position, DurableCallback callback) {
  impl_->wal().when_durable(position, std::move(callback));
}
Status Store::wait_durable(WalPosition position) { return impl_->wal().wait_durable(position); }
Status Store::commit_group() { return impl_->commit_group(); }
void Store::set_advance_observer(AdvanceObserver observer) { impl_->wal().set_observer(std::move(observer)); }
void Store::set_fatal_callback(std::function<void(const Error&)> callback) {
  impl_->set_fatal_callback(std::move(callback));
}

void Store::set_policies(PolicyOf policy_of) { impl_->set_policies(std::move(policy_of)); }
Status Store::tidy() { return impl_->tidy(); }
Status Store::checkpoint() { return impl_->checkpoint(); }
const std::string& Store::dir() const { return impl_->dir(); }
Result<uint64_t> Store::free_bytes() const { return impl_->free_bytes(); }
Store::Statistics Store::statistics() const { return impl_->statistics(); }

}  // namespace millrace::log
