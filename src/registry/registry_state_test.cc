#include "registry/registry_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"

namespace millrace::registry {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Bytes blob_of(size_t size, uint64_t seed) {
  Random random(seed);
  Bytes blob(size);
  for (std::byte& byte : blob) byte = static_cast<std::byte>(random.next());
  return blob;
}

VersionInfo info_of(std::string model, std::string pipeline = "p") {
  VersionInfo info;
  info.model = std::move(model);
  info.pipeline = std::move(pipeline);
  info.algorithm = "logistic_regression";
  info.params_json = R"({"learning_rate":0.01})";
  info.features_json = R"([{"name":"amount","scale":"standard"}])";
  info.label_json = R"({"column":"fraud","delay":"7d"})";
  info.learned = {{"tx", 0, 10, 20}, {"tx", 3, 0, 7}};
  info.event_time_from_us = -5;
  info.rows = 17;
  info.positives = 3;
  info.metrics_json = R"({"learner":{"auc":0.6617773304}})";
  info.created_at_us = 1'700'000'000'000'000;
  info.code_version = "0.1.0";
  return info;
}

// The topic: applies what is written, and can be compacted and read again.
struct Topic {
  std::vector<RegistryRecord> log;
  RegistryState state;

  void write(const RegistryRecord& record) {
    log.push_back(record);
    apply(state, log.size() - 1);
  }
  void write(const std::vector<RegistryRecord>& records) {
    for (const RegistryRecord& record : records) write(record);
  }
  VersionPtr publish(const std::string& model, const Bytes& blob) {
    const auto publication = state.publication(info_of(model), blob).value();
    write(publication.chunks);
    write(publication.version);
    write(publication.retired);
    return state.find(model, publication.info.version);
  }
  void alias(const std::string& model, const std::string& name, int64_t version) {
    std::string json;
    JsonWriter writer(json);
    write_json(writer, Alias{version, "test", "because", 5});
    const ByteView bytes = as_byte_view(json);
    write(RegistryRecord{alias_key(model, name), Bytes(bytes.begin(), bytes.end())});
  }

  void apply(RegistryState& target, size_t offset) const {
    const RegistryRecord& record = log[offset];
    const Status applied = target.apply(static_cast<int64_t>(offset), record.key,
                                        record.value ? std::optional<ByteView>(*record.value) : std::nullopt);
    EXPECT_TRUE(applied) << applied.error().message;
  }
  // Read from the start; compacted: of each key only the last record, at its offset.
  RegistryState read_again(bool compacted) const {
    RegistryState again;
    for (size_t i = 0; i < log.size(); ++i) {
      const bool replaced = std::any_of(log.begin() + static_cast<long>(i) + 1, log.end(),
                                        [&](const RegistryRecord& later) { return later.key == log[i].key; });
      if (!compacted || !replaced) apply(again, i);
    }
    return again;
  }
};

std::vector<int64_t> numbers(const RegistryState& state, std::string_view model) {
  std::vector<int64_t> result;
  for (const VersionPtr& version : state.versions(model)) result.push_back(version->info.version);
  return result;
}

TEST(VersionInfo, IsTheSameAfterJson) {
  VersionInfo info = info_of("fraud");
  info.version = 12;
  info.parent = 11;
  info.blob_bytes = 3;
  info.blob_sha256 = sha256_hex(as_byte_view("abc"));
  std::string json;
  JsonWriter writer(json);
  write_json(writer, info);
  EXPECT_EQ(parse_version_info(json).value(), info);
  info.round = Round{"p/fraud/0123456789abcdef", -7};
  json.clear();
  JsonWriter again(json);
  write_json(again, info);
  EXPECT_EQ(parse_version_info(json).value(), info);
}

TEST(VersionInfo, OfBeforeThereWereRoundsIsRead) {
  std::string json;
  JsonWriter writer(json);
  write_json(writer, info_of("fraud"));
  const std::string_view field = R"("round":null,)";
  ASSERT_NE(json.find(field), std::string::npos);
  json.erase(json.find(field), field.size());
  EXPECT_EQ(parse_version_info(json).value(), info_of("fraud"));
}

TEST(Sha256, EqualsTheStandardsExample) {  // FIPS 180-4
  EXPECT_EQ(sha256_hex(as_byte_view("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(RegistryState, NumbersVersionsAndNamesTheirParents) {
  Topic topic;
  const VersionPtr first = topic.publish("fraud", blob_of(100, 1));
  const VersionPtr second = topic.publish("fraud", blob_of(2 * kChunkBytes + 1, 2));
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->info.version, 1);
  EXPECT_EQ(first->info.parent, 0);
  EXPECT_EQ(second->info.parent, 1);
  EXPECT_EQ(second->blob, blob_of(2 * kChunkBytes + 1, 2));
  EXPECT_EQ(topic.state.latest("fraud"), second);
  EXPECT_THAT(topic.state.models(), ElementsAre("fraud"));
  EXPECT_THAT(topic.log[1].key, "fraud/1");
  EXPECT_THAT(topic.log[2].key, "fraud/2/chunk/0");
}

TEST(RegistryState, KnowsTheVersionOfARoundAgainWhateverCameBehindIt) {
  Topic topic;
  const auto publish = [&](std::optional<Round> round, uint64_t seed) {
    VersionInfo info = info_of("fraud");
    info.round = std::move(round);
    const auto publication = topic.state.publication(info, blob_of(10, seed)).value();
    topic.write(publication.chunks);
    topic.write(publication.version);
    topic.write(publication.retired);
  };
  const auto repeated = [&](std::string series, int64_t boundary) {
    VersionInfo info = info_of("fraud");
    info.round = Round{std::move(series), boundary};
    return topic.state.repeated(info, "other bytes");
  };
  publish(Round{"a", 10}, 1);
  publish(Round{"a", 20}, 2);
  publish(std::nullopt, 3);
  EXPECT_EQ(repeated("a", 10).value()->info.version, 1);
  EXPECT_EQ(repeated("a", 20).value()->info.version, 2);
  EXPECT_EQ(repeated("a", 30).value(), nullptr);
  EXPECT_EQ(repeated("b", 10).value(), nullptr);
  // One that was retired meanwhile is not made again.
  for (int64_t b = 30; b < 300; b += 10) publish(Round{"a", b}, static_cast<uint64_t>(b));
  EXPECT_EQ(repeated("a", 20).error().code, Errc::kAlreadyExists);
}

TEST(RegistryState, ShowsAVersionOnlyOnceAllOfItIsThere) {
  Topic topic;
  const auto publication = topic.state.publication(info_of("fraud"), blob_of(kChunkBytes + 5, 1)).value();
  topic.write(publication.chunks[0]);
  topic.write(publication.version);
  EXPECT_EQ(topic.state.latest("fraud"), nullptr);
  topic.write(publication.chunks[1]);  // behind its version, as compaction may leave it
  EXPECT_NE(topic.state.latest("fraud"), nullptr);
}

TEST(RegistryState, TakesOverTheNumberOfAWriterThatCrashedBeforeItsVersion) {
  Topic topic;
  topic.publish("fraud", blob_of(10, 1));
  topic.write(topic.state.publication(info_of("fraud"), blob_of(3 * kChunkBytes, 2))->chunks);
  const VersionPtr version = topic.publish("fraud", blob_of(10, 3));
  ASSERT_TRUE(version);
  EXPECT_EQ(version->info.version, 2);
  EXPECT_EQ(version->blob, blob_of(10, 3));
  EXPECT_EQ(numbers(topic.read_again(true), "fraud"), numbers(topic.state, "fraud"));
}

TEST(RegistryState, KeepsTheNewestVersionsAndThoseWithAnAlias) {
  Topic topic;
  for (uint64_t i = 1; i <= 2; ++i) topic.publish("fraud", blob_of(10, i));
  topic.alias("fraud", "champion", 2);
  const VersionPtr served = topic.state.find("fraud", 1);
  for (uint64_t i = 3; i <= 30; ++i) topic.publish("fraud", blob_of(10, i));
  const auto kept = numbers(topic.state, "fraud");
  EXPECT_EQ(kept.size(), kVersionsKept + 1);
  EXPECT_EQ(kept[0], 2);
  EXPECT_EQ(kept[1], 11);
  EXPECT_EQ(topic.state.resolve("fraud", "champion")->info.version, 2);
  EXPECT_EQ(served->blob, blob_of(10, 1)) << "what was handed out stays valid";
}

TEST(RegistryState, ReadAgainIsTheSameWholeOrCompacted) {
  Topic topic;
  Random random(3);
  SCOPED_TRACE("seed 3");
  const std::string models[] = {"a", "b"};
  for (int i = 0; i < 60; ++i) {
    const std::string& model = models[random.below(2)];
    if (random.chance(0.2) && topic.state.latest(model))
      topic.alias(model, random.chance(0.5) ? "champion" : "shadow", topic.state.latest(model)->info.version);
    else
      topic.publish(model, blob_of(1 + random.below(5), random.next()));
    if (i % 10 != 0) continue;
    for (const bool compacted : {false, true}) {
      const RegistryState again = topic.read_again(compacted);
      EXPECT_EQ(again.models(), topic.state.models());
      for (const std::string& name : again.models()) {
        EXPECT_EQ(again.aliases(name), topic.state.aliases(name));
        const auto expected = topic.state.versions(name);
        const auto actual = again.versions(name);
        ASSERT_EQ(actual.size(), expected.size());
        for (size_t k = 0; k < actual.size(); ++k) {
          EXPECT_EQ(actual[k]->info, expected[k]->info);
          EXPECT_EQ(actual[k]->blob, expected[k]->blob);
        }
      }
    }
  }
}

TEST(RegistryState, TheFirstClaimOwnsTheModelUntilItIsGivenUp) {
  Topic topic;
  const Bytes empty = {std::byte{'{'}, std::byte{'}'}};
  EXPECT_EQ(topic.state.owner("fraud"), std::nullopt);
  topic.write({{owner_key("fraud", "zebra"), empty}, {owner_key("fraud", "ant"), empty}});
  EXPECT_EQ(topic.state.owner("fraud"), "zebra");
  EXPECT_EQ(topic.read_again(true).owner("fraud"), "zebra");
  topic.write(RegistryRecord{owner_key("fraud", "zebra"), std::nullopt});
  EXPECT_EQ(topic.state.owner("fraud"), "ant");
}

TEST(RegistryState, RefusesToRegisterWhatCannotBe) {
  const RegistryState state;
  EXPECT_EQ(state.publication(info_of("a/b"), blob_of(1, 1)).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(state.publication(info_of("a", ""), blob_of(1, 1)).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(state.publication(info_of("a"), {}).error().code, Errc::kInvalidArgument);
  VersionInfo broken = info_of("a");
  broken.metrics_json = "{";
  EXPECT_EQ(state.publication(broken, blob_of(1, 1)).error().code, Errc::kInvalidArgument);
}

TEST(RegistryState, SkipsHostileRecordsAndStaysAsItWas) {
  Topic topic;
  topic.publish("fraud", blob_of(50, 1));
  topic.alias("fraud", "champion", 1);
  const auto refused = [&](std::string_view key, std::string_view value) {
    return !topic.state.apply(1000, key, as_byte_view(value));
  };
  for (const char* key : {"", "/", "fraud", "fraud/0", "fraud/-1", "fraud/x", "fraud/1/chunk", "fraud/1/chunk/-1",
                          "fraud/1/chunk/512", "fraud/1/chunk/x", "fraud/1/other/0", "fr aud/1", "fraud/alias/",
                          "fraud/99999999999999999999", "../1", "fraud/alias/a/b", "fraud/1/chunk/0/0"})
    EXPECT_TRUE(refused(key, "{}")) << key;
  EXPECT_TRUE(refused("fraud/1", "not json"));
  EXPECT_TRUE(refused("fraud/1", "{}"));
  EXPECT_TRUE(refused("fraud/1", R"({"format":2})"));
  EXPECT_TRUE(refused("fraud/alias/champion", "[]"));
  EXPECT_TRUE(refused("fraud/1/chunk/0", std::string(kChunkBytes + 1, 'x')));
  // A chunk overwritten by someone, of other bytes than were registered.
  EXPECT_TRUE(refused("fraud/1/chunk/0", "x"));
  // A version that claims to be another's, or huge.
  EXPECT_TRUE(refused("other/1", as_text(*topic.log[1].value)));
  EXPECT_TRUE(refused("fraud/7", as_text(*topic.log[1].value)));
  EXPECT_EQ(topic.state.resolve("fraud", "champion")->blob, blob_of(50, 1));
  EXPECT_THAT(numbers(topic.state, "fraud"), ElementsAre(1));
  EXPECT_THAT(topic.state.models(), ElementsAre("fraud"));
  EXPECT_THAT(topic.state.versions("other"), IsEmpty());
}

TEST(RegistryState, AnyBytesAsAVersionAreAnErrorOrAVersionAndNoCrash) {
  Topic topic;
  topic.publish("fraud", blob_of(50, 1));
  const Bytes good = *topic.log[1].value;
  Random random(9);
  for (int i = 0; i < 5000; ++i) {
    Bytes bytes = good;
    for (uint64_t k = random.below(4) + 1; k > 0; --k)
      bytes[random.below(bytes.size())] = static_cast<std::byte>(random.next());
    if (random.chance(0.3)) bytes.resize(random.below(bytes.size()));
    RegistryState state;
    static_cast<void>(state.apply(0, "fraud/1", bytes));
    EXPECT_EQ(state.latest("fraud"), nullptr);
  }
}

}  // namespace
}  // namespace millrace::registry
