#include "experiments/train/plan_advice.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "experiments/record/record_files.hpp"
#include "experiments/runs/run_prediction.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

struct OfGroup {
  std::string group;
  std::int64_t rule = 0;
  double elements = 0.0, before_norm = 0.0;
  theory::RotationPlan sum;  // weighted by elements
};

// Σx_t over the run, and Π(1 − x_t).
std::pair<double, double> decay_over(const json& row, const Schedule& schedule, std::int64_t steps) {
  double sum = 0.0, log_left = 0.0;
  for (std::int64_t t = 0; t < steps; ++t) {
    const double x = std::min(rate_of(row, schedule, t).decay, 1.0 - 1e-12);
    sum += x;
    log_left += std::log1p(-x);
  }
  return {sum, std::exp(log_left)};
}

}  // namespace

json plan_advice(const json& config, const json& policy) {
  const Schedule schedule = schedule_of(config);
  const auto steps = config.at("steps").get<std::int64_t>();
  std::vector<OfGroup> groups;
  json warnings = json::array();
  // One warning per group and rule.
  std::map<std::pair<std::string, std::int64_t>, bool> warned;
  for (const json& row : policy.at("rows")) {
    const std::string group = text_at(row, "group");
    const auto rule = row.at("rule").get<std::int64_t>();
    const double decay = number_at(row, "weight_decay");
    const bool decoupled = text_at(row, "decay_coupling") != "l2";
    if (decay > 0.0 && decoupled && !std::exchange(warned[{group, rule}], true)) {
      const auto [sum, left] = decay_over(row, schedule, steps);
      // The length forgets its start after 1/(2x) steps.
      if (2.0 * sum < 0.5)
        warnings.push_back(
            printed("%s (rule %lld): decay %.4g cannot act before the run ends: it takes %.2g %% of a weight "
                    "in all, and 1/(2ηλ) at the schedule's mean rate is %.3g times the run",
                    group.c_str(), static_cast<long long>(rule), decay, 100.0 * (1.0 - left), 0.5 / sum));
      if (group.starts_with("scale") && number_at(row, "decay_target") == 0.0 && left < 0.1)
        warnings.push_back(
            printed("%s (rule %lld): decay alone would leave %.2g of γ by the end; the loss holds a scale against it "
                    "where s/√(s² + 1) reaches λγ = %.3g γ, s the signal-to-noise ratio of its gradient (T5)",
                    group.c_str(), static_cast<long long>(rule), left, decay));
    }
    const double norm = number_at(row, "norm");
    const auto noise = update_noise_of(row);
    if (group != "matrix" || !noise || !(norm > 0.0) || !(number_at(row, "lr") > 0.0)) continue;
    auto it = std::find_if(groups.begin(), groups.end(),
                           [&](const OfGroup& g) { return g.group == group && g.rule == rule; });
    if (it == groups.end()) {
      it = groups.insert(groups.end(), {group, rule, 0.0, 0.0, {}});
      it->sum.out_of_equilibrium = 0.0;
    }
    std::vector<theory::StepRate> rates;
    for (std::int64_t t = 0; t < steps; ++t) rates.push_back(rate_of(row, schedule, t));
    const theory::RotationPlan plan = theory::rotation_plan(*noise, norm * norm, rates);
    const double weight = number_at(row, "count");
    it->elements += weight;
    it->before_norm += row.value("before_norm", false) ? weight : 0.0;
    it->sum.relaxation_steps = plan.relaxation_steps;
    it->sum.start += weight * plan.start;
    it->sum.middle += weight * plan.middle;
    it->sum.end += weight * plan.end;
    it->sum.out_of_equilibrium += weight * plan.out_of_equilibrium;
  }
  json out{{"groups", json::array()}, {"warnings", warnings}};
  for (const OfGroup& g : groups)
    out["groups"].push_back(
        {{"group", g.group},
         {"rule", g.rule},
         {"relaxation_steps", std::isfinite(g.sum.relaxation_steps) ? json(g.sum.relaxation_steps) : json()},
         {"steps", steps},
         {"rotation",
          {{"start", g.sum.start / g.elements},
           {"middle", g.sum.middle / g.elements},
           {"end", g.sum.end / g.elements}}},
         {"out_of_equilibrium", g.sum.out_of_equilibrium / g.elements},
         {"before_norm", g.before_norm / g.elements}});
  return out;
}

std::string advice_text(const json& advice) {
  std::string out;
  for (const json& g : advice["groups"]) {
    const json& turn = g["rotation"];
    const double relaxation = number_at(g, "relaxation_steps"), steps = number_at(g, "steps");
    out += text_at(g, "group") + printed(" (rule %lld): ", static_cast<long long>(g["rule"].get<std::int64_t>()));
    out += std::isfinite(relaxation)
               ? printed("1/(2ηλ) at the highest rate %.4g steps, %.3g times the run; ", relaxation, relaxation / steps)
               : std::string("no decay; ");
    out += printed("rotation %.3g at the start, %.3g in the middle, %.3g at the end (radians a step); ",
                   number_at(turn, "start"), number_at(turn, "middle"), number_at(turn, "end"));
    out += std::isfinite(relaxation)
               ? printed("out of equilibrium for %.0f %% of the run\n", 100.0 * number_at(g, "out_of_equilibrium"))
               : std::string("never settles\n");
  }
  if (!out.empty())
    out =
        "by theory (T11, T12: gradients as noise, exact for matrices before a norm; nothing is changed by it)\n" + out;
  for (const json& warning : advice["warnings"]) out += "warning: " + warning.get<std::string>() + "\n";
  return out;
}

}  // namespace scalevec::experiments
