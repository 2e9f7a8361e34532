#include "experiments/claims/evidence.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "experiments/claims/metrics.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/statistics/statistics.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Kind = Contrast::Kind;

// Reads what one contrast of a claim needs, on its first `pairs` seeds.
class Reader {
 public:
  Reader(const Plan& plan, const Claim& claim, const RunStore& store, std::int64_t pairs)
      : plan_(plan), claim_(claim), store_(store), outcomes_(store.outcomes()), pairs_(pairs) {}

  // A variant's metric per seed at the lr of the contrast; why a value is not finite goes to `failures`.
  MeasuredVariant variant(const Contrast& contrast, const std::string& name, std::vector<std::string>& failures) const {
    MeasuredVariant out;
    out.name = name;
    out.lr = plan_.lr(claim_, contrast, name, outcomes_);
    const Tuning t = plan_.tuning(claim_, name, outcomes_);
    if (!out.lr) {
      failures.push_back(t.state != Tuning::State::tunable ? t.problem
                                                           : name + ": its learning rate is not chosen yet");
      out.values.assign(static_cast<size_t>(pairs_), kNaN);
      return out;
    }
    const PlannedVariant& planned = plan_.variant(claim_, name);
    if (contrast.at == Contrast::At::own && (planned.variant->lr_from.empty() || contrast.kind == Kind::tokens))
      out.fit = t.fit;
    const std::int64_t first = plan_.choice(claim_).first_seed;
    for (std::int64_t seed = first; seed < first + pairs_; ++seed)
      out.values.push_back(value(run_name(planned.folder, *out.lr, seed), contrast.metric, failures));
    const json& any = store_.result(run_name(planned.folder, *out.lr, first));
    out.parameters = number_at(any, "parameters");
    out.tokens = number_at(any, "tokens");
    return out;
  }

  std::int64_t pairs() const { return pairs_; }
  const Plan& plan() const { return plan_; }
  const Claim& claim() const { return claim_; }
  const Outcomes& outcomes() const { return outcomes_; }

 private:
  double value(const std::string& run, const std::string& metric, std::vector<std::string>& failures) const {
    const auto outcome = outcomes_(run);
    if (!outcome || outcome->state == CellOutcome::State::missing) {
      failures.push_back(run + ": " + (outcome ? outcome->reason : "not run yet"));
      return kNaN;
    }
    if (outcome->state == CellOutcome::State::diverged) {
      failures.push_back(run + ": diverged: " + outcome->reason);
      return std::numeric_limits<double>::infinity();
    }
    const double x = metric == "val_loss" ? outcome->loss : store_.metric(run, metric);
    if (!std::isfinite(x)) failures.push_back(run + ": its record has no " + metric);
    return x;
  }

  const Plan& plan_;
  const Claim& claim_;
  const RunStore& store_;
  Outcomes outcomes_;
  std::int64_t pairs_;
};

std::string first_of(const std::vector<std::string>& failures) {
  if (failures.empty()) return "";
  return failures.front() + (failures.size() > 1 ? " (and " + std::to_string(failures.size() - 1) + " more)" : "");
}

void paired_gains(ContrastResult& r, const Contrast& c, std::int64_t seeds) {
  for (size_t s = 0; s < static_cast<size_t>(seeds); ++s) {
    const double x = r.better[0].values[s];
    const double y = r.worse.empty() ? 0.0 : r.worse[0].values[s];
    if (!std::isfinite(x) || !std::isfinite(y)) {
      r.gains.push_back(kNaN);
      continue;
    }
    switch (c.kind) {
      case Kind::ratio:
        r.gains.push_back(c.limit - x / y);
        break;
      case Kind::level:
        r.gains.push_back(x - c.limit);
        break;
      case Kind::closeness:
        r.gains.push_back(c.limit - std::abs(std::log(x)));
        break;
      default:
        r.gains.push_back(y - x);
    }
  }
}

void token_gain(ContrastResult& r, std::int64_t pairs) {
  std::vector<double> tokens;
  for (const MeasuredVariant& length : r.worse) tokens.push_back(length.tokens);
  const double own = r.better[0].tokens;
  const auto gain = [&](const std::vector<double>& better, const std::vector<double>& worse) {
    return tokens_at_loss(tokens, worse, better[0]) / own - 1.0;
  };
  const auto losses = [](const std::vector<MeasuredVariant>& variants, std::span<const size_t> chosen) {
    std::vector<double> out;
    for (const MeasuredVariant& v : variants) out.push_back(mean_over(v.values, chosen));
    return out;
  };
  const Bootstrap bootstrap(static_cast<size_t>(pairs), [&](std::span<const size_t> chosen) {
    return gain(losses(r.better, chosen), losses(r.worse, chosen));
  });
  r.gain = bootstrap_gain(bootstrap, pairs);
  std::vector<size_t> all(static_cast<size_t>(pairs));
  std::iota(all.begin(), all.end(), size_t{0});
  if (!std::isfinite(bootstrap.estimate()))
    r.gain.reason = "the loss lies outside what the baseline's runs of several lengths reached: not extrapolated";
  add_lr_errors(r, losses(r.better, all), losses(r.worse, all), gain);
}

// How far the law by which a variant got its lr is from the fit of a variant that is not among those it goes through.
void check_law(ContrastResult& r, const Reader& reader, const std::vector<MeasuredVariant>& sizes) {
  const Plan& plan = reader.plan();
  for (const MeasuredVariant& size : sizes) {
    const Variant& variant = *plan.variant(reader.claim(), size.name).variant;
    for (const MeasuredVariant& other : sizes) {
      if (variant.lr_law.empty() || &other == &size || !other.fit ||
          std::count(variant.lr_law.begin(), variant.lr_law.end(), other.name))
        continue;
      const double width = width_of(plan.variant(reader.claim(), other.name).config);
      if (const auto at = plan.law_fit(reader.claim(), variant, width, reader.outcomes()))
        r.notes.push_back(
            printed("the law behind the lr of \"%s\" gives %.3g at \"%s\", whose fit is %.3g: %+.2f octaves, "
                    "standard error of the fit %.2f",
                    size.name.c_str(), std::exp2(at->log2_lr), other.name.c_str(), std::exp2(other.fit->log2_lr),
                    at->log2_lr - other.fit->log2_lr, other.fit->se));
    }
  }
}

ContrastResult measured(const Reader& reader, const Contrast& c) {
  ContrastResult r;
  r.contrast = &c;
  std::vector<std::string> failures;
  std::vector<std::string> variants = c.variants;
  std::string untuned;  // a variant that might have been the best
  if (c.kind == Kind::difference && variants.size() > 1) {
    for (const std::string& name : c.variants)
      if (const Tuning t = reader.plan().tuning(reader.claim(), name, reader.outcomes());
          !t.best && t.state != Tuning::State::tunable) {
        if (t.state == Tuning::State::diverges)
          r.notes.push_back(t.problem);
        else if (untuned.empty())
          untuned = t.problem;
      }
    const auto chosen = reader.plan().better_variant(reader.claim(), c, reader.outcomes());
    if (chosen) {
      variants = {*chosen};
      r.notes.push_back("of " + std::to_string(c.variants.size()) + " variants \"" + *chosen +
                        "\" was the best on the tuning seeds");
    } else {
      variants.resize(1);
      failures.push_back("the best of the variants is not chosen yet");
    }
  }
  for (const std::string& name : variants) r.better.push_back(reader.variant(c, name, failures));
  for (const std::string& name : c.baselines) r.worse.push_back(reader.variant(c, name, failures));
  if (c.sequential()) {
    paired_gains(r, c, reader.pairs());
    r.gain = student_gain(r.gains, first_of(failures));
  } else if (!failures.empty()) {
    r.gain.reason = first_of(failures);
  } else if (c.kind == Kind::ladder) {
    fit_ladder(r, reader.pairs());
    check_law(r, reader, r.worse);
    check_law(r, reader, r.better);
  } else {
    token_gain(r, reader.pairs());
  }
  // Fits of losses: other metrics have no least at the vertex.
  if (c.kind == Kind::difference && c.metric == "val_loss") {
    if (r.better[0].fit) r.gain.lr_errors.push_back({*r.better[0].fit, 1.0});
    if (r.worse[0].fit) r.gain.lr_errors.push_back({*r.worse[0].fit, -1.0});
  }
  if (r.gain.reason.empty()) r.gain.reason = untuned;
  return r;
}

// Whether every run of the contrast's pairs was tried.
bool tried(const Plan& plan, const Claim& claim, const Contrast& c, const Outcomes& outcomes, std::int64_t pairs) {
  const std::int64_t first = plan.choice(claim).first_seed;
  for (const std::string& name : plan.variants_of(claim, c, outcomes))
    if (const auto lr = plan.lr(claim, c, name, outcomes))
      for (std::int64_t seed = first; seed < first + pairs; ++seed)
        if (!outcomes(run_name(plan.variant(claim, name).folder, *lr, seed))) return false;
  return true;
}

// Whether the lr of every variant is chosen, or never will be.
bool settled(const Plan& plan, const Claim& claim, const Contrast& c, const Outcomes& outcomes) {
  std::vector<std::string> names = c.variants;
  names.insert(names.end(), c.baselines.begin(), c.baselines.end());
  if (c.at == Contrast::At::matched) names.push_back(claim.baseline);
  return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    const Tuning t = plan.tuning(claim, name, outcomes);
    return t.best || t.state != Tuning::State::tunable;
  });
}

// Whether every variant has an lr at which it is compared.
bool comparable(const Plan& plan, const Claim& claim, const Contrast& c, const Outcomes& outcomes) {
  const std::vector<std::string> names = plan.variants_of(claim, c, outcomes);
  return !names.empty() && std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    return plan.lr(claim, c, name, outcomes).has_value();
  });
}

}  // namespace

ContrastResult measure(const Plan& plan, const Claim& claim, const Contrast& contrast, const RunStore& store,
                       std::int64_t pairs) {
  return measured(Reader(plan, claim, store, pairs), contrast);
}

Sequence follow(const Plan& plan, const Claim& claim, const Contrast& contrast, const RunStore& store, double error) {
  const std::vector<std::int64_t> looks = plan.looks(claim, contrast);
  const bool judged = contrast.decides && claim.judged;
  const std::vector<double> levels = judged ? look_levels(looks, error) : std::vector<double>(looks.size(), 0.05);
  const Outcomes outcomes = store.outcomes();
  Sequence out;
  const bool chosen = settled(plan, claim, contrast, outcomes);
  if (chosen && !comparable(plan, claim, contrast, outcomes)) {
    out.result = measure(plan, claim, contrast, store, looks.front());
    out.stopped = out.result.gain.reason;
    return out;
  }
  for (size_t k = 0; k < looks.size(); ++k) {
    if (!chosen || !tried(plan, claim, contrast, outcomes, looks[k])) {
      out.wanted = looks[k];
      if (out.looks.empty()) out.result = measure(plan, claim, contrast, store, looks[k]);
      return out;
    }
    out.result = measure(plan, claim, contrast, store, looks[k]);
    const Judgement j = judge(out.result.gain, contrast.smallest_effect, levels[k]);
    out.looks.push_back({looks[k], levels[k], out.result.gain.estimate, j});
    out.stopped = !j.reason.empty() ? j.reason : decided(j, contrast.smallest_effect);
    if (!out.stopped.empty()) return out;
  }
  out.stopped = "the last look";
  return out;
}

Plan::Pairs pairs_by_looks(const Plan& plan, const RunStore& store, double error) {
  return [&plan, &store, error](const Claim& claim, const Contrast& contrast) {
    return follow(plan, claim, contrast, store, error).wanted;
  };
}

double tokens_at_loss(std::span<const double> tokens, std::span<const double> losses, double loss) {
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    if (!(losses[i] >= loss && loss >= losses[i + 1]) || losses[i] == losses[i + 1]) continue;
    const double share = (losses[i] - loss) / (losses[i] - losses[i + 1]);
    return std::exp2(std::log2(tokens[i]) + share * std::log2(tokens[i + 1] / tokens[i]));
  }
  return kNaN;
}

}  // namespace scalevec::experiments
