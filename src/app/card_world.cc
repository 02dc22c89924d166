#include "app/card_world.h"

#include <fmt/core.h>

#include <array>
#include <cmath>
#include <numbers>

#include "base/json_writer.h"
#include "columns/column.h"

namespace millrace::app {
namespace {

constexpr int64_t kUsPerHour = 3'600'000'000;
constexpr int64_t kUsPerDay = 24 * kUsPerHour;
constexpr std::array kCategories{"groceries", "fuel", "restaurant", "clothes", "electronics", "travel", "gift_card"};
// How often fraud starts, and how often a card that is compromised is the next to pay.
constexpr double kFraudShare = 0.004;
constexpr double kCompromisedShare = 0.006;
constexpr int64_t kCompromisedForUs = 6 * kUsPerHour;

double hour_of_day(int64_t time_us) {
  return static_cast<double>(time_us % kUsPerDay) / static_cast<double>(kUsPerHour);
}

// How likely a holder with that usual hour is to pay at `hour`, between 0.05 and 1.
double waking(double hour, double usual_hour) {
  return 0.05 + 0.95 * (0.5 + 0.5 * std::cos((hour - usual_hour) * std::numbers::pi / 12));
}

double to_pence(double amount) { return std::max(0.01, std::round(amount * 100) / 100); }

}  // namespace

const CardWorld::Place CardWorld::kPlaces[] = {
    {"GB", 51.51, -0.13}, {"GB", 53.48, -2.24},  {"GB", 55.95, -3.19}, {"IE", 53.35, -6.26},   {"FR", 48.86, 2.35},
    {"DE", 52.52, 13.40}, {"NL", 52.37, 4.90},   {"ES", 40.42, -3.70}, {"US", 40.71, -74.01},  {"BR", -23.55, -46.63},
    {"NG", 6.52, 3.38},   {"CN", 31.23, 121.47}, {"RU", 55.76, 37.62}, {"AU", -33.87, 151.21},
};

std::string Payment::to_json() const {
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("payment_id").text(payment_id).key("card_id").text(card_id);
  json.key("event_time").text(columns::format_timestamp(time_us)).key("amount").number(amount);
  json.key("category").text(category).key("country").text(country);
  json.key("latitude").number(latitude).key("longitude").number(longitude);
  json.key("is_fraud").number(is_fraud ? 1 : 0).end_object();
  return text;
}

CardWorld::CardWorld(const CardWorldOptions& options)
    : options_(options), random_(options.seed), now_us_(options.start_us) {
  constexpr size_t kHomes = 8;  // the first places; the others are where only travellers and fraudsters pay
  for (size_t i = 0; i < options_.cards; ++i)
    cards_.push_back({.home = kPlaces[random_.below(kHomes)],
                      .usual_amount = std::exp(3.0 + 0.7 * normal()),
                      .usual_hour = 11 + 8 * random_.uniform()});
}

// Box and Muller 1958.
double CardWorld::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - random_.uniform()));
  return radius * std::cos(2 * std::numbers::pi * random_.uniform());
}

// A holder who is awake, by rejection.
size_t CardWorld::pick_card() {
  const double hour = hour_of_day(now_us_);
  while (true) {
    const size_t index = random_.below(cards_.size());
    if (random_.chance(waking(hour, cards_[index].usual_hour))) return index;
  }
}

void CardWorld::make_honest(const Card& card, Payment& payment) {
  constexpr double kTravelShare = 0.01;
  const Place& place = random_.chance(kTravelShare) ? kPlaces[random_.below(std::size(kPlaces))] : card.home;
  payment.amount = to_pence(card.usual_amount * std::exp(0.6 * normal()));
  payment.category = kCategories[random_.below(5)];
  payment.country = place.country;
  payment.latitude = place.latitude + 0.05 * normal();
  payment.longitude = place.longitude + 0.05 * normal();
}

void CardWorld::make_fraud(Card& card, Payment& payment) {
  const bool drifted = options_.drift_after > 0 && count_ >= options_.drift_after;
  const Place& abroad = kPlaces[8 + random_.below(std::size(kPlaces) - 8)];
  const Place& place = random_.chance(drifted ? 0.2 : 0.6) ? abroad : card.home;
  const double factor = drifted ? 0.3 + 0.2 * random_.uniform() : 4 + 6 * random_.uniform();
  payment.amount = to_pence(card.usual_amount * factor);
  payment.category = drifted ? kCategories[random_.below(kCategories.size())] : kCategories[4 + random_.below(3)];
  payment.country = place.country;
  payment.latitude = place.latitude + 0.2 * normal();
  payment.longitude = place.longitude + 0.2 * normal();
  payment.is_fraud = true;
}

Payment CardWorld::next() {
  const double per_us =
      static_cast<double>(options_.cards) * options_.payments_per_card_per_day / static_cast<double>(kUsPerDay);
  now_us_ += static_cast<int64_t>(-std::log(1 - random_.uniform()) / per_us);
  std::erase_if(compromised_, [&](size_t index) { return cards_[index].compromised_until_us < now_us_; });

  const bool again = !compromised_.empty() &&
                     random_.chance(std::min(0.5, kCompromisedShare * static_cast<double>(compromised_.size())));
  const size_t index = again ? compromised_[random_.below(compromised_.size())] : pick_card();
  Card& card = cards_[index];
  Payment payment;
  payment.payment_id = fmt::format("p{:09}", ++count_);
  payment.card_id = fmt::format("c{:05}", index);
  payment.time_us = now_us_;
  if (!again && !random_.chance(kFraudShare)) {
    make_honest(card, payment);
    return payment;
  }
  make_fraud(card, payment);
  // Every second theft is of the card itself, which is then used until it is blocked.
  if (!again && random_.chance(0.5)) {
    card.compromised_until_us = now_us_ + kCompromisedForUs;
    compromised_.push_back(index);
  }
  return payment;
}

}  // namespace millrace::app
