#include "app/card_world.h"

#include <gtest/gtest.h>

#include <set>

namespace millrace::app {
namespace {

constexpr int64_t kStartUs = 1'767'225'600'000'000;

TEST(CardWorld, IsTheSameForTheSameSeedAndAnotherForAnother) {
  CardWorld a({.seed = 5, .start_us = kStartUs}), b({.seed = 5, .start_us = kStartUs}),
      c({.seed = 6, .start_us = kStartUs});
  bool differs = false;
  for (int i = 0; i < 1000; ++i) {
    const std::string text = a.next().to_json();
    EXPECT_EQ(text, b.next().to_json());
    differs |= text != c.next().to_json();
  }
  EXPECT_TRUE(differs);
}

TEST(CardWorld, HasRareFraudOfHigherAmountsAndTimesThatNeverGoBack) {
  CardWorld world({.seed = 1, .start_us = kStartUs});
  constexpr int kPayments = 100'000;
  int64_t last = kStartUs;
  int fraud = 0;
  double fraud_amount = 0, honest_amount = 0;
  std::set<std::string> ids;
  for (int i = 0; i < kPayments; ++i) {
    const Payment payment = world.next();
    ASSERT_GE(payment.time_us, last);
    ASSERT_GT(payment.amount, 0);
    last = payment.time_us;
    ids.insert(payment.payment_id);
    fraud += payment.is_fraud ? 1 : 0;
    (payment.is_fraud ? fraud_amount : honest_amount) += payment.amount;
  }
  EXPECT_EQ(ids.size(), static_cast<size_t>(kPayments));
  EXPECT_GT(fraud, kPayments / 200);
  EXPECT_LT(fraud, kPayments / 20);
  EXPECT_GT(fraud_amount / fraud, 3 * honest_amount / (kPayments - fraud));
}

TEST(CardWorld, DriftMakesFraudSmall) {
  CardWorld world({.seed = 1, .start_us = kStartUs, .drift_after = 1});
  double fraud_amount = 0, honest_amount = 0;
  int fraud = 0, honest = 0;
  for (int i = 0; i < 50'000; ++i) {
    const Payment payment = world.next();
    (payment.is_fraud ? fraud_amount : honest_amount) += payment.amount;
    ++(payment.is_fraud ? fraud : honest);
  }
  EXPECT_LT(fraud_amount / fraud, honest_amount / honest);
}

}  // namespace
}  // namespace millrace::app
