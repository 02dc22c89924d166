#include "learn/trainer.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "learn/internal/state_codec.h"

namespace millrace::learn {
namespace {

// A page's number is its part's, then its own within that part.
enum class Part : uint32_t { kHeader, kModel, kMetrics, kPrior, kLast };
constexpr uint32_t kPartShift = 28;
static_assert(Metrics::kPagesMax == 1u << kPartShift);

uint32_t page_number(Part part, uint32_t page) { return static_cast<uint32_t>(part) << kPartShift | page; }

// Leaves room for a page's version and checksum.
constexpr size_t kModelPageBytes = kStatePageBytesMax - 64;

void append_part(Part part, std::vector<StatePage>&& pages, std::vector<StatePage>& out) {
  for (StatePage& page : pages) out.push_back({page_number(part, page.number), std::move(page.bytes)});
}

MetricsOptions without_ranking(MetricsOptions options) {
  options.ranking = false;
  return options;
}

}  // namespace

Trainer::Trainer(Model model, const MetricsOptions& options)
    : model_(std::move(model)),
      metrics_(model_.task(), options),
      prior_metrics_(model_.task(), without_ranking(options)),
      last_metrics_(model_.task(), without_ranking(options)) {}

Result<Trainer> Trainer::make(ModelSpec spec, MetricsOptions options) {
  MILLRACE_ASSIGN_OR_RETURN(Model model, Model::make(std::move(spec)));
  return Trainer(std::move(model), options);
}

void Trainer::learn(const double* row, double label, const Prediction& prediction, std::span<double> scratch) {
  MILLRACE_CHECK(is_valid_label(model_.task(), label));
  metrics_.judge(prediction.score, label);
  prior_metrics_.judge(prediction.prior, label);
  last_metrics_.judge(prediction.last, label);
  labels_.learn(label);
  model_.learn_row(row, label, scratch);
}

void Trainer::run(const MatrixView& rows, std::span<const Op> ops, std::span<Prediction> predictions) {
  MILLRACE_CHECK(rows.features == model_.spec().features.size() && predictions.size() >= rows.rows);
  std::vector<double> scratch(model_.inputs());
  for (const Op& op : ops) {
    MILLRACE_CHECK(op.row < rows.rows);
    switch (op.kind) {
      case Op::Kind::kPredict:
        predictions[op.row] = {model_.predict_row(rows.row(op.row).data(), scratch), labels_.mean(), labels_.last};
        break;
      case Op::Kind::kLearn:
        learn(rows.row(op.row).data(), op.label, predictions[op.row], scratch);
        break;
    }
  }
}

void Trainer::append_model_pages(bool only_changed, std::vector<StatePage>& out) const {
  const Bytes model = model_.serialize();
  uint32_t pages = 0;
  for (size_t begin = 0; begin < model.size(); begin += kModelPageBytes) {
    Bytes page = internal::begin_page();
    ByteWriter(page).bytes(ByteView(model).subspan(begin, std::min(kModelPageBytes, model.size() - begin)));
    internal::end_page(page);
    out.push_back({page_number(Part::kModel, pages++), std::move(page)});
  }
  if (only_changed)
    for (uint32_t gone = pages; gone < clean_model_pages_; ++gone) out.push_back({page_number(Part::kModel, gone), {}});

  Bytes header = internal::begin_page();
  ByteWriter writer(header);
  writer.uvarint(pages);
  writer.uvarint(labels_.rows);
  writer.float64(labels_.sum);
  writer.float64(labels_.last);
  internal::end_page(header);
  out.push_back({page_number(Part::kHeader, 0), std::move(header)});
}

std::vector<StatePage> Trainer::all_pages() const {
  std::vector<StatePage> pages;
  append_model_pages(false, pages);
  append_part(Part::kMetrics, metrics_.all_pages(), pages);
  append_part(Part::kPrior, prior_metrics_.all_pages(), pages);
  append_part(Part::kLast, last_metrics_.all_pages(), pages);
  return pages;
}

std::vector<StatePage> Trainer::take_changed_pages() {
  std::vector<StatePage> pages;
  if (clean_model_pages_ == 0 || clean_labels_ != labels_.rows) {
    append_model_pages(true, pages);
    clean_labels_ = labels_.rows;
    clean_model_pages_ = static_cast<uint32_t>(
        std::ranges::count_if(pages, [](const StatePage& page) { return !page.bytes.empty(); }) - 1);
  }
  append_part(Part::kMetrics, metrics_.take_changed_pages(), pages);
  append_part(Part::kPrior, prior_metrics_.take_changed_pages(), pages);
  append_part(Part::kLast, last_metrics_.take_changed_pages(), pages);
  return pages;
}

Result<Trainer> Trainer::restore(std::span<const StatePage> pages) {
  ByteView header;
  std::map<uint32_t, ByteView> model_pages;
  std::map<Part, std::vector<StatePage>> metrics_pages;
  for (const StatePage& page : pages) {
    if (page.bytes.empty()) continue;
    const auto part = static_cast<Part>(page.number >> kPartShift);
    const uint32_t number = page.number & (Metrics::kPagesMax - 1);
    switch (part) {
      case Part::kHeader:
        if (number != 0) return fail(Errc::kCorruption, "a trainer has one header");
        header = page.bytes;
        continue;
      case Part::kModel:
        model_pages[number] = page.bytes;
        continue;
      case Part::kMetrics:
      case Part::kPrior:
      case Part::kLast:
        metrics_pages[part].push_back({number, page.bytes});
        continue;
    }
    return fail(Errc::kCorruption, "a state page belongs to nothing in a trainer");
  }

  MILLRACE_ASSIGN_OR_RETURN(const ByteView body, internal::open_page(header));
  ByteReader in(body);
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t model_page_count, in.uvarint());
  internal::LabelCounts labels;
  MILLRACE_ASSIGN_OR_RETURN(labels.rows, in.uvarint());
  MILLRACE_ASSIGN_OR_RETURN(labels.sum, in.float64());
  MILLRACE_ASSIGN_OR_RETURN(labels.last, in.float64());
  MILLRACE_RETURN_IF_ERROR(internal::expect_end(in));

  Bytes blob;
  uint32_t expected = 0;
  for (const auto& [number, page] : model_pages) {
    if (number != expected++) return fail(Errc::kCorruption, "a page of the model is missing");
    MILLRACE_ASSIGN_OR_RETURN(const ByteView part, internal::open_page(page));
    blob.insert(blob.end(), part.begin(), part.end());
  }
  if (expected != model_page_count) return fail(Errc::kCorruption, "the model has another number of pages");
  MILLRACE_ASSIGN_OR_RETURN(Model model, Model::deserialize(blob));

  Trainer trainer(std::move(model), {});
  trainer.labels_ = labels;
  for (const auto& [part, metrics] :
       {std::pair{Part::kMetrics, &trainer.metrics_}, std::pair{Part::kPrior, &trainer.prior_metrics_},
        std::pair{Part::kLast, &trainer.last_metrics_}}) {
    MILLRACE_ASSIGN_OR_RETURN(*metrics, Metrics::restore(metrics_pages[part]));
    if (metrics->task() != trainer.model_.task()) return fail(Errc::kCorruption, "the metrics are of another task");
  }
  trainer.clean_labels_ = labels.rows;
  trainer.clean_model_pages_ = static_cast<uint32_t>(model_page_count);
  return trainer;
}

Result<Trainer> Trainer::restore(const ModelSpec& spec, std::span<const StatePage> pages) {
  MILLRACE_ASSIGN_OR_RETURN(Trainer trainer, restore(pages));
  if (trainer.model_.spec() != spec)
    return fail(Errc::kConflict, "the saved state is of a model with another algorithm, parameters or features",
                "give the model a new name, or the pipeline a new group, to begin anew");
  return trainer;
}

Bytes Trainer::serialize() const {
  Bytes bytes;
  ByteWriter out(bytes);
  for (const StatePage& page : all_pages()) {
    out.fixed(page.number);
    out.uvarint(page.bytes.size());
    out.bytes(page.bytes);
  }
  return bytes;
}

Result<Trainer> Trainer::deserialize(ByteView bytes) {
  std::vector<StatePage> pages;
  ByteReader in(bytes);
  while (in.remaining() > 0) {
    MILLRACE_ASSIGN_OR_RETURN(const auto number, in.fixed<uint32_t>());
    MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, in.uvarint());
    MILLRACE_ASSIGN_OR_RETURN(const ByteView page, in.bytes(size));
    pages.push_back({number, Bytes(page.begin(), page.end())});
  }
  return restore(pages);
}

Result<Round> merge_round(std::span<const Trainer* const> parts) {
  MILLRACE_CHECK(!parts.empty());
  std::vector<const Model*> models;
  std::vector<const Metrics*> learner;
  std::vector<const Metrics*> prior;
  std::vector<const Metrics*> last;
  for (const Trainer* part : parts) {
    models.push_back(&part->model());
    learner.push_back(&part->metrics());
    prior.push_back(&part->prior_metrics());
    last.push_back(&part->last_metrics());
  }
  MILLRACE_ASSIGN_OR_RETURN(Model model, Model::merge(models));
  return Round{std::move(model), Metrics::total(learner), Metrics::total(prior), Metrics::total(last),
               Metrics::window(learner)};
}

}  // namespace millrace::learn
