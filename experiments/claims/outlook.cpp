#include "experiments/claims/outlook.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/record/overrides.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/statistics/statistics.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

double tokens_of(const json& config) {
  return number_at(config, "steps") * number_at(config, "batch_size") * number_at(config, "sequence_length");
}

std::string size_key(const json& config) {
  const json* width = find_at(config, "model.width");
  const json* layers = find_at(config, "model.layers");
  const json* vocabulary = find_at(config, "model.vocab_size");
  std::string out;
  for (const json* part : {width, layers, vocabulary}) out += (part ? part->dump() : "") + ";";
  return out;
}

// Core-seconds of runs, from those that are finished.
class Costs {
 public:
  Costs(const std::vector<Plan>& plans, const RunStore& store) {
    for (const Plan& plan : plans)
      for (const Claim* claim : plan.claims())
        for (const std::string& run : runs_used(plan, *claim, store)) {
          const json& result = store.result(run);
          const double seconds = core_seconds(result), tokens = number_at(result, "tokens");
          if (!std::isfinite(seconds)) continue;
          by_variant_[run.substr(0, run.rfind('/'))].push_back(seconds);
          for (const Variant& variant : claim->variants)
            if (const PlannedVariant& planned = plan.variant(*claim, variant.name);
                run.starts_with(planned.folder + "/"))
              by_size_[size_key(planned.config)].push_back(seconds / tokens);
        }
  }

  // NaN: unknown.
  double of(const PlannedVariant& variant) const {
    if (const auto it = by_variant_.find(variant.folder); it != by_variant_.end())
      return mean_interval(it->second).mean;
    const auto size = by_size_.find(size_key(variant.config));
    return size == by_size_.end() ? kNaN : mean_interval(size->second).mean * tokens_of(variant.config);
  }

 private:
  std::map<std::string, std::vector<double>> by_variant_, by_size_;
};

struct Left {
  std::int64_t tuning = 0, first = 0, last = 0;  // runs: to tune, to compare up to the first look, up to the last
  double tuning_hours = 0.0, first_hours = 0.0, last_hours = 0.0;
};

// Comparison runs of a variant at one lr that are wanted by the first look and by the last.
struct Wanted {
  const PlannedVariant* variant;
  std::optional<double> lr;
  std::int64_t first_seed, first, last;
};

Left left_of(const Plan& plan, const RunStore& store, double error, const Costs& costs) {
  Left left;
  const Outcomes outcomes = store.outcomes();
  for (const Cell& cell : plan.wanted(outcomes, [](const Claim&, const Contrast&) { return 0; })) {
    ++left.tuning;
    for (const Claim* claim : plan.claims())
      for (const Variant& variant : claim->variants)
        if (const PlannedVariant& planned = plan.variant(*claim, variant.name); planned.folder == cell.variant) {
          left.tuning_hours += costs.of(planned) / 3600.0;
          goto next;
        }
  next:;
  }
  std::map<std::string, Wanted> wanted;
  for (const Claim* claim : plan.claims())
    for (const Contrast& c : claim->contrasts) {
      const Sequence s = follow(plan, *claim, c, store, error);
      if (!s.stopped.empty()) continue;
      const std::int64_t last = plan.looks(*claim, c).back();
      std::vector<std::string> names = plan.variants_of(*claim, c, outcomes);
      if (names.empty()) {
        names = c.baselines;
        names.push_back(c.variants.front());
      }
      for (const std::string& name : names) {
        const PlannedVariant& planned = plan.variant(*claim, name);
        const bool matched = c.at == Contrast::At::matched && name != claim->baseline;
        Wanted& w =
            wanted
                .emplace(planned.folder + (matched ? "@" + claim->baseline : ""),
                         Wanted{&planned, plan.lr(*claim, c, name, outcomes), plan.choice(*claim).first_seed, 0, 0})
                .first->second;
        w.first = std::max(w.first, s.wanted);
        w.last = std::max(w.last, last);
      }
    }
  for (const auto& [key, w] : wanted) {
    std::int64_t done = 0;
    while (w.lr && done < w.last && outcomes(run_name(w.variant->folder, *w.lr, w.first_seed + done))) ++done;
    const std::int64_t first = std::max<std::int64_t>(0, w.first - done), last = w.last - done;
    left.first += first;
    left.last += last;
    left.first_hours += first ? static_cast<double>(first) * costs.of(*w.variant) / 3600.0 : 0.0;
    left.last_hours += last ? static_cast<double>(last) * costs.of(*w.variant) / 3600.0 : 0.0;
  }
  return left;
}

std::string hours_text(double hours) { return std::isfinite(hours) ? printed("%.2f", hours) : "unknown"; }

}  // namespace

std::string plan_text(const std::vector<Plan>& plans, const RunStore& store, double error) {
  const Costs costs(plans, store);
  std::string out;
  std::vector<std::vector<std::string>> lines{{"text", "runs to tune now", "core-hours", "to compare, next look",
                                               "core-hours", "to compare, last look", "core-hours"}};
  double least = 0.0, most = 0.0;
  for (const Plan& plan : plans) {
    out += plan.text().name + "\n";
    std::set<std::string> seen;
    for (const Claim* claim : plan.claims()) {
      const TierChoice choice = plan.choice(*claim);
      std::vector<std::string> looks;
      for (const std::int64_t n : choice.looks) looks.push_back(std::to_string(n));
      out += "  " + claim->id + (claim->judged ? ": looks at " : ", not judged: ") + joined(looks) + " pairs\n";
      for (const Variant& variant : claim->variants) {
        const PlannedVariant& planned = plan.variant(*claim, variant.name);
        if (!seen.insert(planned.folder).second) continue;
        const size_t seeds = plan.tuning_seeds(*claim, variant.name).size();
        const std::string lr = !variant.lr_from.empty()  ? "at the lr of " + variant.lr_from
                               : !variant.lr_law.empty() ? "at the lr of a law through " + joined(variant.lr_law)
                                                         : "lr fitted to " + std::to_string(choice.lrs.size()) +
                                                               " points, seeds: " + std::to_string(seeds);
        const double seconds = costs.of(planned);
        out += printed("    %-32s %6.3g million tokens, %s core-minutes a run, %s\n",
                       planned.folder.substr(planned.folder.find('/') + 1).c_str(), tokens_of(planned.config) / 1e6,
                       std::isfinite(seconds) ? printed("%.2f", seconds / 60.0).c_str() : "unknown", lr.c_str());
      }
    }
    const Left left = left_of(plan, store, error, costs);
    lines.push_back({plan.text().name, std::to_string(left.tuning), hours_text(left.tuning_hours),
                     std::to_string(left.first), hours_text(left.first_hours), std::to_string(left.last),
                     hours_text(left.last_hours)});
    least += left.tuning_hours + left.first_hours;
    most += left.tuning_hours + left.last_hours;
  }
  return out + "\n" + columns_text(lines) + "left: " + hours_text(least) + " to " + hours_text(most) +
         " core-hours, and more where a grid of learning rates has to grow\n";
}

std::string power_text(const std::vector<Plan>& plans, const RunStore& store, double error) {
  std::vector<std::vector<std::string>> lines{{"text", "claim", "sd of a pair", "of interest", "pairs for no effect",
                                               "most pairs", "effect found in 50 %", "in 90 %",
                                               "lr errors cost up to"}};
  for (const Plan& plan : plans)
    for (const json& e : gather(plan, store, error)) {
      const json& pilot = e.at("pilot");
      const double sd = number_at(pilot, "sd"), half = number_at(pilot, "detectable");
      const json& c = e.at("contrasts").front();
      const std::int64_t most = c.at("cap").get<std::int64_t>();
      // Beyond the half width by the mean's spread: 1.2816 of it for nine of ten.
      const double ninety = half + 1.2816 * sd / std::sqrt(static_cast<double>(most));
      lines.push_back({plan.text().name, text_at(e, "claim"), short_number(sd),
                       short_number(number_at(c, "smallest_effect")),
                       pilot.at("seeds").is_number() ? pilot.at("seeds").dump() : "n/a", std::to_string(most),
                       short_number(half), short_number(ninety), short_number(number_at(pilot, "lr_cost"))});
    }
  return columns_text(lines);
}

}  // namespace scalevec::experiments
