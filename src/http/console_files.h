#pragma once

#include "http/server.h"

namespace millrace::http {

// Serve the console, which the build put into the binary: "/" and its script and style sheet, gzip-encoded where the
// browser takes that, revalidated by ETag, under a content security policy that lets the page load nothing from
// elsewhere.
void add_console_files(Server& server);

}  // namespace millrace::http
