#pragma once

#include <string>

#include "base/fake_clock.h"
#include "base/random.h"
#include "broker/internal/simulation_group.h"
#include "broker/internal/simulation_network.h"
#include "broker/internal/simulation_referee.h"
#include "wire/error_code.h"

namespace millrace::broker {

// What the simulation's clients share.
struct SimulatedStage {
  Random& random;
  const FakeClock& clock;
  SimulatedNetwork& network;
  SimulatedReferee& referee;
  SimulatedGroup& group;  // of the consumers
};

// A client's process. What it does next it does when the simulation calls act(); what it hears comes by itself.
class SimulatedClient {
 public:
  SimulatedClient(SimulatedStage stage, std::string name) : stage_(stage), name_(std::move(name)) {}
  virtual ~SimulatedClient() = default;
  SimulatedClient(const SimulatedClient&) = delete;
  SimulatedClient& operator=(const SimulatedClient&) = delete;

  virtual void act() = 0;
  // The process ends at once; what it has sent may still arrive.
  virtual void crash() { is_dead_ = true; }
  bool is_dead() const { return is_dead_; }
  const std::string& name() const { return name_; }
  // From now on it begins nothing new.
  void calm_down() { is_calm_ = true; }

 protected:
  // What a good client does not get.
  void undeserved(const std::string& what, wire::ErrorCode error) const {
    ADD_FAILURE() << name_ << " did nothing to deserve " << wire::error_name(error) << " for " << what;
  }
  void die() { is_dead_ = true; }

  // The connection, made anew where it was lost.
  Link& open(LinkPtr& link, bool may_arrive_late = true) {
    if (link == nullptr || link->is_lost) {
      link = stage_.network.connect();
      link->may_arrive_late = may_arrive_late;
    }
    return *link;
  }

  const SimulatedStage stage_;
  bool is_calm_ = false;

 private:
  const std::string name_;
  bool is_dead_ = false;
};

// Errors that say: another has taken the producer's place, or the transaction took too long.
inline bool is_fenced(wire::ErrorCode error) {
  return error == wire::ErrorCode::kProducerFenced || error == wire::ErrorCode::kInvalidProducerEpoch ||
         error == wire::ErrorCode::kInvalidProducerIdMapping;
}

}  // namespace millrace::broker
