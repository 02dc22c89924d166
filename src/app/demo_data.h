#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "env/temporary_folder.h"
#include "format/file_reader.h"

namespace millrace::app {

// What the demonstration brings along inside the binary: the pipelines of examples/online_retail and examples/payments,
// and the shop's order lines.
std::string_view demo_shop_yaml();
std::string_view demo_cards_yaml();

// The shop's order lines, in time order, without the header. Writes them into `folder` first.
Result<std::unique_ptr<format::FileReader>> open_demo_orders(const env::TemporaryFolder& folder);
// The header that belongs before them.
inline constexpr std::string_view kDemoOrdersHeader =
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";

// 2020-01-01T00:00:00Z: when the made-up card payments begin.
inline constexpr int64_t kDemoCardsStartUs = 1'577'836'800'000'000;

}  // namespace millrace::app
