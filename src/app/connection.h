#pragma once

#include <memory>

#include "app/command_line.h"
#include "app/kafka_link.h"
#include "client/admin.h"

namespace millrace::app {

// How long a command waits for a broker's answer.
inline constexpr client::Millis kAnswerLimit{10'000};

// The broker a command talks to: --bootstrap, or MILLRACE_BOOTSTRAP where --data is not given; else the server that
// runs on the data folder, else 127.0.0.1:9092.
client::Options connection(const CommandLine& line);

Result<std::unique_ptr<client::Admin>> connect_admin(const CommandLine& line);
Result<std::unique_ptr<KafkaLink>> connect_link(const CommandLine& line);

// kNotFound where there is no such topic, saying where to look.
Result<client::TopicInfo> find_topic(client::Admin& admin, const std::string& name);
tl::unexpected<Error> no_such_topic(const std::string& name);

}  // namespace millrace::app
