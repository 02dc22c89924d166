#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"

namespace millrace::app {

// A payment as the demonstration's card network reports it.
struct Payment {
  std::string payment_id;
  std::string card_id;
  int64_t time_us = 0;  // UTC
  double amount = 0;    // pounds
  std::string category;
  std::string country;  // ISO 3166, where the merchant is
  double latitude = 0;
  double longitude = 0;
  bool is_fraud = false;  // what turned out later; here it comes with the payment

  std::string to_json() const;
};

struct CardWorldOptions {
  uint64_t seed = 1;
  int64_t start_us = 0;
  size_t cards = 2000;
  double payments_per_card_per_day = 4;
  // From this payment on fraudsters work differently (small amounts, many merchants, by day): the drift that a model
  // trained before does not know. 0: never.
  uint64_t drift_after = 0;
};

// A made-up world of card holders and fraudsters, the same for the same options on every machine. Holders have a home,
// a usual amount and usual hours. Fraud comes in three kinds: a compromised card is used again and again within hours;
// a single unusual amount at an unusual hour; a payment so far from the last one that nobody could have travelled
// there. Not thread-safe.
class CardWorld {
 public:
  explicit CardWorld(const CardWorldOptions& options);

  // The next payment; times never go back.
  Payment next();

 private:
  struct Place {
    const char* country;
    double latitude;
    double longitude;
  };
  struct Card {
    Place home;
    double usual_amount;  // the median of a log-normal
    double usual_hour;    // of the day, UTC
    int64_t compromised_until_us = 0;
  };
  static const Place kPlaces[];

  size_t pick_card();
  double normal();
  void make_honest(const Card& card, Payment& payment);
  void make_fraud(Card& card, Payment& payment);

  CardWorldOptions options_;
  Random random_;
  std::vector<Card> cards_;
  std::vector<size_t> compromised_;
  int64_t now_us_;
  uint64_t count_ = 0;
};

}  // namespace millrace::app
