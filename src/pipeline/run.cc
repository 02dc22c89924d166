#include "pipeline/run.h"

#include <fmt/core.h>

#include <algorithm>
#include <thread>

#include "base/mutex.h"
#include "client/admin.h"
#include "client/partition_reader.h"
#include "env/posix_file_system.h"
#include "format/decoder.h"
#include "format/encoder.h"
#include "format/json_schema.h"
#include "pipeline/internal/feed.h"
#include "pipeline/internal/map_reader.h"
#include "pipeline/internal/topics.h"
#include "pipeline/worker.h"

namespace millrace::pipeline {
namespace {

constexpr client::Millis kTimeout{60'000};
constexpr auto kProgressEvery = std::chrono::milliseconds(100);

std::vector<client::TopicPartition> partitions_of(const std::string& topic, int32_t count) {
  std::vector<client::TopicPartition> partitions;
  for (int32_t p = 0; p < count; ++p) partitions.push_back({topic, PartitionId(p)});
  return partitions;
}

Result<std::map<client::TopicPartition, Offset>> ends_of(client::Admin& admin,
                                                         const std::vector<client::TopicPartition>& partitions) {
  std::map<client::TopicPartition, Offset> ends;
  MILLRACE_ASSIGN_OR_RETURN(const auto offsets, admin.offsets(partitions, kTimeout));
  for (const client::PartitionOffsets& partition : offsets) {
    if (!partition.range) return tl::unexpected<Error>(partition.range.error());
    ends.emplace(partition.source, partition.range->end);
  }
  return ends;
}

// One run: its parts in the order in which they happen.
class Run {
 public:
  Run(RunOptions options, env::FileSystem& files, const Clock& clock, std::stop_token stop)
      : options_(std::move(options)), files_(files), clock_(clock), stop_(std::move(stop)) {}

  Result<Report> run(ResolvedPlan plan) {
    const MonoTime started = clock_.mono_now();
    MILLRACE_RETURN_IF_ERROR(check_names(plan.plan));
    MILLRACE_ASSIGN_OR_RETURN(admin_, client::Admin::create(options_.client));
    MILLRACE_RETURN_IF_ERROR(prepare_topics(*admin_, plan, topic_partitions_));
    MILLRACE_RETURN_IF_ERROR(note_sink_begins(plan));
    for (const FileBinding& input : options_.inputs) MILLRACE_RETURN_IF_ERROR(feed_file(plan.plan, input));
    MILLRACE_ASSIGN_OR_RETURN(auto worker, make_worker(plan));
    MILLRACE_RETURN_IF_ERROR(work(*worker));
    Report report;
    report.pipelines.push_back(worker->status());
    for (const FileBinding& output : options_.outputs) MILLRACE_RETURN_IF_ERROR(write_file(worker->plan(), output));
    report.seconds = std::chrono::duration<double>(clock_.mono_now() - started).count();
    return report;
  }

 private:
  Status check_names(const Plan& plan) const {
    std::vector<std::string> sources;
    std::vector<std::string> sinks;
    for (const SourcePlan& source : plan.sources) sources.push_back(source.name);
    for (const SinkPlan& sink : plan.sinks) sinks.push_back(sink.id);
    const auto check = [](const std::vector<FileBinding>& bindings, const std::vector<std::string>& names,
                          std::string_view kind) -> Status {
      for (const FileBinding& binding : bindings)
        if (std::find(names.begin(), names.end(), binding.name) == names.end())
          return fail(Errc::kNotFound, fmt::format("the pipeline has no {} '{}'", kind, binding.name),
                      suggest(binding.name, names));
      return {};
    };
    MILLRACE_RETURN_IF_ERROR(check(options_.inputs, sources, "source"));
    return check(options_.outputs, sinks, "sink");
  }

  Status note_sink_begins(const ResolvedPlan& plan) {
    for (const FileBinding& output : options_.outputs) {
      const SinkPlan& sink = sink_of(plan.plan, output.name);
      const std::string& topic = sink.topic.value;
      MILLRACE_ASSIGN_OR_RETURN(auto ends, ends_of(*admin_, partitions_of(topic, topic_partitions_.at(topic))));
      sink_begins_.insert(ends.begin(), ends.end());
    }
    return {};
  }

  static const SinkPlan& sink_of(const Plan& plan, const std::string& id) {
    return *std::find_if(plan.sinks.begin(), plan.sinks.end(), [&](const SinkPlan& sink) { return sink.id == id; });
  }

  Status feed_file(const Plan& plan, const FileBinding& input) {
    if (!producer_) {
      client::ProducerOptions producer;
      producer.linger = client::Millis(20);
      MILLRACE_ASSIGN_OR_RETURN(producer_, client::Producer::create(options_.client, producer));
    }
    FeedOptions feeding;
    feeding.source = plan.find_source(input.name);
    feeding.partitions = topic_partitions_.at(feeding.source->topic.value);
    feeding.path = input.path;
    feeding.progress = [&](uint64_t bytes, uint64_t total) {
      if (options_.progress) options_.progress({RunProgress::Phase::kFeeding, input.name, bytes, total});
    };
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t records, feed(*producer_, feeding, clock_, stop_));
    total_records_ += records;
    return {};
  }

  Result<std::unique_ptr<Worker>> make_worker(const ResolvedPlan& plan) {
    WorkerOptions worker;
    worker.client = options_.client;
    worker.threads = options_.threads;
    worker.bounded = true;
    for (const SourcePlan& source : plan.plan.sources) {
      const std::string& topic = source.topic.value;
      MILLRACE_ASSIGN_OR_RETURN(auto ends, ends_of(*admin_, partitions_of(topic, topic_partitions_.at(topic))));
      worker.ends.insert(ends.begin(), ends.end());
    }
    return Worker::make(plan, std::move(worker), clock_);
  }

  Status work(Worker& worker) {
    Status status;
    Mutex mutex;
    CondVar changed;
    bool done = false;
    std::jthread thread([&] {
      Status ran = worker.run(stop_);
      MutexLock lock(mutex);
      status = std::move(ran);
      done = true;
      changed.notify_all();
    });
    for (bool over = false; !over;) {
      {
        MutexLock lock(mutex);
        if (!done) changed.wait_for(mutex, kProgressEvery);
        over = done;
      }
      if (options_.progress)
        options_.progress(
            {RunProgress::Phase::kRunning, worker.plan().plan.name, worker.status().records_in, total_records_});
    }
    thread.join();
    if (status && stop_.stop_requested()) return fail(Errc::kCancelled, "stopped before the end of the input");
    return status;
  }

  Status write_file(const ResolvedPlan& plan, const FileBinding& output);

  RunOptions options_;
  env::FileSystem& files_;
  const Clock& clock_;
  std::stop_token stop_;
  std::unique_ptr<client::Admin> admin_;
  std::unique_ptr<client::Producer> producer_;
  std::map<std::string, int32_t> topic_partitions_;
  std::map<client::TopicPartition, Offset> sink_begins_;
  uint64_t total_records_ = 0;
};

// Turns a sink's records into the lines of a file.
class LineWriter {
 public:
  static Result<LineWriter> make(const std::string& path, const columns::SchemaPtr& schema,
                                 const std::vector<Text>& names, const Clock& clock) {
    LineWriter writer;
    if (!path.ends_with(".csv")) return writer;
    std::vector<columns::Field> fields;
    for (const columns::Field& field : schema->fields())
      if (names.empty() ||
          std::any_of(names.begin(), names.end(), [&](const Text& n) { return n.value == field.name; }))
        fields.push_back(field);
    format::DecoderOptions decoding;
    decoding.columns = columns::Schema(std::move(fields));
    MILLRACE_ASSIGN_OR_RETURN(writer.decoder_, format::Decoder::make(std::move(decoding), clock));
    MILLRACE_ASSIGN_OR_RETURN(writer.encoder_, format::Encoder::make(format::Format::kCsv, writer.decoder_->schema()));
    return writer;
  }
  void header(std::string& out) const {
    if (encoder_) out += encoder_->csv_header() + "\n";
  }
  void lines(std::span<const client::RecordView> records, std::string& out) {
    if (!encoder_) {
      for (const client::RecordView& record : records) out.append(as_text(record.value())) += '\n';
      return;
    }
    std::vector<format::RecordView> views;
    for (const client::RecordView& record : records) {
      format::RecordView view;
      view.value = as_text(record.value());
      views.push_back(view);
    }
    const format::Decoded decoded = decoder_->decode(views);
    for (size_t row = 0; row < decoded.batch.rows(); ++row) {
      encoder_->append_row(decoded.batch, row, out);
      out += '\n';
    }
  }

 private:
  std::optional<format::Decoder> decoder_;
  std::optional<format::Encoder> encoder_;
};

// Partition after partition, in offset order: the same bytes at every run.
Status Run::write_file(const ResolvedPlan& plan, const FileBinding& output) {
  const SinkPlan& sink = sink_of(plan.plan, output.name);
  const StepPlan* from = plan.plan.find_step(sink.from.value);
  const columns::SchemaPtr schema = from != nullptr ? from->schema : plan.plan.find_source(sink.from.value)->schema;
  MILLRACE_ASSIGN_OR_RETURN(LineWriter writer, LineWriter::make(output.path, schema, sink.columns, clock_));
  MILLRACE_ASSIGN_OR_RETURN(const auto file, files_.open(output.path, env::OpenMode::kCreateEmpty));
  std::string buffer;
  uint64_t position = 0;
  const auto flush = [&]() -> Status {
    MILLRACE_RETURN_IF_ERROR(file->write_at(position, as_byte_view(buffer)));
    position += buffer.size();
    buffer.clear();
    return {};
  };
  writer.header(buffer);
  const std::string& topic = sink.topic.value;
  const auto partitions = partitions_of(topic, topic_partitions_.at(topic));
  MILLRACE_ASSIGN_OR_RETURN(const auto ends, ends_of(*admin_, partitions));
  MILLRACE_ASSIGN_OR_RETURN(const auto reader, client::PartitionReader::create(options_.client));
  for (const client::TopicPartition& partition : partitions) {
    const client::ReadRange range{partition, sink_begins_.at(partition), ends.at(partition)};
    MILLRACE_RETURN_IF_ERROR(reader->assign({&range, 1}, kTimeout));
    while (!reader->done()) {
      MILLRACE_ASSIGN_OR_RETURN(const client::Records records, reader->poll(10'000, client::Millis(100)));
      for (const client::PartitionRecords& part : records.partitions()) writer.lines(part.records, buffer);
      if (buffer.size() > (1u << 20)) MILLRACE_RETURN_IF_ERROR(flush());
    }
  }
  return flush();
}

}  // namespace

Result<FileBinding> parse_binding(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size())
    return fail(Errc::kInvalidArgument, fmt::format("'{}' is not NAME=FILE", text), "write source=events.jsonl");
  return FileBinding{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

Result<Report> run(ResolvedPlan plan, RunOptions options, env::FileSystem& files, const Clock& clock,
                   std::stop_token stop) {
  return Run(std::move(options), files, clock, std::move(stop)).run(std::move(plan));
}

Result<std::string> infer_file(const std::string& target) {
  std::string name = target.substr(target.rfind('/') == std::string::npos ? 0 : target.rfind('/') + 1);
  name = name.substr(0, name.find('.'));
  if (target.ends_with(".schema.json")) {
    env::PosixFileSystem files;
    MILLRACE_ASSIGN_OR_RETURN(const Bytes text, env::read_file(files, target, format::kJsonSchemaBytesMax));
    MILLRACE_ASSIGN_OR_RETURN(const auto schema, format::JsonSchema::parse(as_text(text)));
    format::Inferred declared;
    declared.columns = schema->columns();
    return format::to_source_yaml(declared, name, name);
  }
  const auto kind = format::file_kind_of(target);
  if (!kind)
    return fail(Errc::kInvalidArgument, fmt::format("{}: cannot tell what kind of file this is", target),
                "name it .csv, .jsonl or .log, with or without .gz");
  format::FileReaderOptions reading;
  reading.path = target;
  reading.kind = *kind;
  MILLRACE_ASSIGN_OR_RETURN(const format::Inferred inferred, format::infer_file(reading));
  return format::to_source_yaml(inferred, name, name);
}

Result<std::string> infer_topic(const client::Options& client, const std::string& topic) {
  constexpr size_t kRecordsMax = 10'000;
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, client::Admin::create(client));
  MILLRACE_ASSIGN_OR_RETURN(const client::TopicInfo info, admin->describe_topic(topic, kTimeout));
  const auto partitions = partitions_of(topic, static_cast<int32_t>(info.partitions.size()));
  MILLRACE_ASSIGN_OR_RETURN(const auto ends, ends_of(*admin, partitions));
  MILLRACE_ASSIGN_OR_RETURN(const auto reader, client::PartitionReader::create(client));
  std::vector<client::ReadRange> ranges;
  for (const auto& [partition, end] : ends) ranges.push_back({partition, Offset(0), end});
  MILLRACE_RETURN_IF_ERROR(reader->assign(ranges, kTimeout));
  std::vector<std::string> values;
  while (!reader->done() && values.size() < kRecordsMax) {
    MILLRACE_ASSIGN_OR_RETURN(const client::Records records, reader->poll(kRecordsMax, client::Millis(100)));
    for (const client::PartitionRecords& part : records.partitions())
      for (const client::RecordView& record : part.records)
        if (record.has_value()) values.emplace_back(as_text(record.value()));
  }
  const std::vector<std::string_view> views(values.begin(), values.end());
  return format::to_source_yaml(format::infer_records(views), topic, topic);
}

}  // namespace millrace::pipeline
