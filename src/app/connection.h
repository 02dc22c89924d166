#pragma once

#include <memory>

#include "app/command_line.h"
#include "client/admin.h"

namespace millrace::app {

// How long a command waits for a broker's answer.
inline constexpr client::Millis kAnswerLimit{10'000};

// The broker a command talks to: --bootstrap or MILLRACE_BOOTSTRAP, else the server that runs on the data folder, else
// 127.0.0.1:9092.
client::Options connection(const CommandLine& line);

Result<std::unique_ptr<client::Admin>> connect_admin(const CommandLine& line);

}  // namespace millrace::app
