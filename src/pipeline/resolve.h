#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "pipeline/plan.h"
#include "sql/database.h"

namespace millrace::pipeline {

// What one consumer group runs: sources that meet in a step, and all that is made of them. Its tasks are its input
// partitions; its changelog has as many.
struct Stage {
  std::string name;  // the first source's
  std::string group;
  std::vector<size_t> sources;  // in Plan::sources; more than one are co-partitioned
  std::vector<size_t> steps;    // in Plan::steps, each behind what it reads
  std::vector<size_t> sinks;    // in Plan::sinks
  int32_t partitions = 0;

  std::string changelog(const Plan& plan) const { return plan.name + "." + name + ".changelog"; }
  bool has_state = false;
};

// A plan that can run, and what was found out about it.
struct ResolvedPlan {
  Plan plan;
  std::vector<Stage> stages;
  std::vector<std::string> notes;  // remarks for people: types that SQL widens, topics that will be made
};

// Checks a plan as a whole and fills in its parts marked "by resolve()": names that must exist, the schema of each
// step's rows, types, key and time rules. All that is wrong goes to `diagnostics`; the result is of use only where
// nothing is. SQL statements are prepared against their real input, which loads DuckDB where there are any.
ResolvedPlan resolve(Plan plan, Diagnostics& diagnostics);

}  // namespace millrace::pipeline
