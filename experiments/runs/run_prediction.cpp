#include "experiments/runs/run_prediction.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "experiments/record/record_files.hpp"
#include "experiments/system/text.hpp"
#include "optim/config/option_json.hpp"
#include "theory/scale_ratio.hpp"

namespace scalevec::experiments {

using nlohmann::json;

Schedule schedule_of(const json& config) {
  JsonReader in(config.at("schedule"), "schedule");
  Schedule out;
  read_options(in, out.fields());
  return out;
}

namespace {

DecayCoupling coupling_of(const json& row) {
  return parse_decay_coupling(text_at(row, "decay_coupling")).value_or(DecayCoupling::lr);
}

theory::StepRate rate_at(double lr, double weight_decay, DecayCoupling coupling, double factor) {
  return {lr * factor, decay_terms(coupling, weight_decay, lr * factor, lr).shrink};
}

// Whether an option makes the step another than the method's.
bool is_modified(const json& row) {
  if (!row.contains("options")) return false;
  const json& options = row["options"];
  for (const char* option : {"amsgrad", "cautious", "cautious_decay", "hold_norm", "trust_ratio"})
    if (options.value(option, false)) return true;
  if (options.value("update_rms", 0.0) != 0.0) return true;
  if (options.value("qk_clip", 0.0) == 0.0) return false;
  const std::string role = row.value("role", "");
  return role.find(" attn.q ") != std::string::npos || role.find(" attn.k ") != std::string::npos;
}

// Decay that the recursion knows: none, or toward 0 and beside the gradient, less than all of the weights; of a step
// that no option modifies.
bool decay_is_known(const json& row) {
  if (is_modified(row)) return false;
  const double decay = number_at(row, "weight_decay");
  if (decay == 0.0) return true;
  const DecayCoupling coupling = coupling_of(row);
  return coupling != DecayCoupling::l2 && number_at(row, "decay_target") == 0.0 &&
         rate_at(number_at(row, "lr"), decay, coupling, 1.0).decay < 1.0;
}

double lr_factor(const std::string& scaling, double rows, double columns) {
  if (scaling == "match_rms_adamw") return 0.2 * std::sqrt(std::max(rows, columns));
  return std::sqrt(scaling == "spectral" ? rows / columns : std::max(1.0, rows / columns));
}

}  // namespace

theory::StepRate rate_of(const json& row, const Schedule& schedule, std::int64_t step) {
  return rate_at(number_at(row, "lr"), number_at(row, "weight_decay"), coupling_of(row), schedule.factor(step));
}

std::optional<theory::UpdateNoise> update_noise_of(const json& row) {
  const double count = number_at(row, "count");
  if (!row.contains("options") || !(count >= 2.0) || !decay_is_known(row)) return std::nullopt;
  const json& options = row["options"];
  const std::string method = text_at(row, "method");
  if (method == "adamw" || method == "adam") return theory::adamw_update_noise(count, number_at(options, "beta1"));
  if (method == "lion")
    return theory::lion_update_noise(count, number_at(options, "beta1"), number_at(options, "beta2"));
  if (method != "muon" || !options.value("nesterov", false) || row["shape"].size() != 2) return std::nullopt;
  const std::string coefficients = text_at(options, "coefficients");
  const auto steps = options.value("ns_steps", 0);
  if (coefficients == "quintic" ? steps != 5 : steps < 5) return std::nullopt;
  const double blocks = row.value("row_blocks", 1.0);
  const double rows = row["shape"][0].get<double>() / blocks, columns = row["shape"][1].get<double>();
  const theory::Orthogonalised by =
      coefficients == "quintic" ? theory::quintic_spectrum(rows, columns) : theory::polar_spectrum(rows, columns);
  // Row blocks are orthogonalised one by one.
  return theory::scaled_noise(theory::muon_update_noise(rows, columns, number_at(options, "momentum"), by),
                              std::sqrt(blocks) * lr_factor(text_at(options, "lr_scaling"), rows, columns));
}

RunPrediction::RunPrediction(const json& config, const json& policy) {
  if (!config.contains("schedule") || !config["schedule"].contains("total_steps")) return;
  schedule_ = schedule_of(config);
  for (const json& row : array_at(policy, "rows")) {
    const std::string group = text_at(row, "group");
    const double norm = number_at(row, "norm");
    const std::optional<theory::UpdateNoise> noise = norm > 0.0 ? update_noise_of(row) : std::nullopt;
    whole_.emplace(group, true).first->second &= noise.has_value();
    if (!noise) continue;
    index_[text_at(row, "name")] = params_.size();
    params_.push_back({text_at(row, "name"),
                       group,
                       number_at(row, "lr"),
                       number_at(row, "weight_decay"),
                       coupling_of(row),
                       theory::RotationWalk(*noise, norm * norm),
                       {}});
  }
  for (Param& p : params_) p.move = p.walk.next_move(rate(p, 0));
}

theory::StepRate RunPrediction::rate(const Param& p, std::int64_t step) const {
  return rate_at(p.lr, p.weight_decay, p.coupling, schedule_.factor(step));
}

void RunPrediction::go_to(std::int64_t step) {
  if (step - 1 <= steps_) return;
  for (; steps_ < step - 1; ++steps_) {
    const double factor = schedule_.factor(steps_);
    for (Param& p : params_) p.walk.step(rate_at(p.lr, p.weight_decay, p.coupling, factor));
  }
  for (Param& p : params_) p.move = p.walk.next_move(rate(p, steps_));
}

namespace {

RunPrediction::Value value_of(const theory::RotationWalk::Move& move) {
  return {move.rotation(), std::sqrt(move.norm_sq)};
}

}  // namespace

RunPrediction::Value RunPrediction::of(const std::string& parameter) const {
  const auto it = index_.find(parameter);
  return it == index_.end() ? Value{} : value_of(params_[it->second].move);
}

RunPrediction::Value RunPrediction::of_group(const std::string& group) const {
  const auto whole = whole_.find(group);
  if (whole == whole_.end() || !whole->second) return {};
  theory::RotationWalk::Move sum;
  for (const Param& p : params_)
    if (p.group == group) sum += p.move;
  return value_of(sum);
}

void RunPrediction::merge_into(std::int64_t step, std::vector<RunTraceRow>& params, std::vector<RunTraceRow>& groups) {
  go_to(step);
  const auto fill = [](RunTraceRow& row, const Value& value) {
    row.predicted_rotation = value.rotation;
    row.predicted_norm = value.norm;
  };
  for (RunTraceRow& row : params) fill(row, of(row.name));
  for (RunTraceRow& row : groups) fill(row, of_group(row.name));
}

namespace {

const json* row_named(const json& rows, const std::string& name) {
  for (const json& row : rows)
    if (text_at(row, "name") == name) return &row;
  return nullptr;
}

// T13's path between traced steps with ln R taken as linear there.
std::vector<double> ratio_path(const json& scale, const json& reader, double rows, const Schedule& schedule,
                               const std::vector<double>& steps, double from, const std::vector<double>& target) {
  std::vector<double> out{from};
  const double beta1 = number_at(reader["options"], "beta1");
  double log_ratio = std::log(from);
  for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
    const double span = steps[i + 1] - steps[i], growth = std::log(target[i + 1] / target[i]) / span;
    for (double t = 0.0; t < span; t += 1.0) {
      const auto step = static_cast<std::int64_t>(steps[i] + t) - 1;
      const theory::StepRate w = rate_of(reader, schedule, step), gamma = rate_of(scale, schedule, step);
      if (!(w.lr > 0.0) || !(gamma.lr > 0.0)) continue;
      theory::RatioNormalised problem =
          theory::adamw_pair(rows, target[i] * std::exp(growth * t), w.lr, gamma.lr, beta1);
      problem.decay_w = w.decay;
      problem.decay_gamma = gamma.decay;
      const theory::RatioFlow flow = theory::normalised_ratio(problem);
      const double y = std::exp(log_ratio);
      log_ratio +=
          (flow.rise - flow.fall * y + flow.growth * growth * (1.0 - flow.weight * y)) / (1.0 + flow.weight * y);
    }
    out.push_back(std::exp(log_ratio));
  }
  return out;
}

}  // namespace

std::vector<RatioPrediction> ratio_predictions(const json& config, const json& policy,
                                               const std::vector<json>& traces) {
  std::vector<RatioPrediction> out;
  if (!config.contains("schedule") || !policy.contains("rows")) return out;
  const Schedule schedule = schedule_of(config);
  for (const json& scale : array_at(policy, "scales")) {
    if (text_at(scale, "form") != "plain" || !scale.contains("readers") || scale["readers"].empty()) continue;
    const std::string name = text_at(scale, "name");
    const json* own = row_named(policy["rows"], name);
    const json* reader = row_named(policy["rows"], scale["readers"][0].get<std::string>());
    if (!own || !reader || !own->contains("options")) continue;
    RatioPrediction p;
    p.scale = name;
    p.rows = number_at(scale, "rows");
    std::vector<double>& target = p.length;
    for (const json& line : traces) {
      const auto params = line.find("params");
      const json* row = params == line.end() ? nullptr : row_named(*params, name);
      if (!row) continue;
      const double ratio = number_at(*row, "w_gamma_ratio");
      const double gamma_sq = std::pow(number_at(*row, "param_norm"), 2) / number_at(*row, "count");
      if (!(ratio > 0.0) || !(gamma_sq > 0.0)) continue;
      p.step.push_back(number_at(line, "step"));
      p.measured.push_back(ratio);
      target.push_back(gamma_sq * ratio);
      double predicted = std::pow(number_at(*row, "predicted_norm"), 2);
      for (const json& map : scale["readers"]) {
        const json* w = row_named(*params, map.get<std::string>());
        predicted -= w ? std::pow(number_at(*w, "predicted_norm"), 2) : NAN;
      }
      const double imbalance = number_at(*row, "imbalance");
      if (!std::isfinite(imbalance) || !std::isfinite(predicted)) continue;
      p.imbalance_step.push_back(p.step.back());
      p.imbalance.push_back(imbalance);
      p.size.push_back(gamma_sq * (1.0 + ratio * ratio));
      p.predicted_imbalance.push_back(predicted / number_at(*row, "count"));
    }
    if (p.step.empty()) continue;
    bool known = text_at(*own, "method") == "adamw" && decay_is_known(*own);
    for (const json& map : scale["readers"]) {
      const json* w = row_named(policy["rows"], map.get<std::string>());
      // One rate for all rows of a column is what the ratio's flow knows.
      known = known && w && text_at(*w, "method") == "adamw" && decay_is_known(*w) &&
              number_at(*w, "lr") == number_at(*reader, "lr") &&
              number_at(*w, "weight_decay") == number_at(*reader, "weight_decay");
    }
    if (known && number_at(*own, "lr") > 0.0 && number_at(*reader, "lr") > 0.0) {
      p.predicted = ratio_path(*own, *reader, p.rows, schedule, p.step, p.measured[0], target);
      p.still = ratio_path(*own, *reader, p.rows, schedule, p.step, p.measured[0],
                           std::vector<double>(target.size(), target[0]));
    }
    out.push_back(std::move(p));
  }
  return out;
}

Parting parting(const std::vector<double>& step, const std::vector<double>& measured,
                const std::vector<double>& predicted, double tolerance) {
  Parting out;
  std::vector<double> at, off;
  for (std::size_t i = 0; i < step.size() && i < measured.size() && i < predicted.size(); ++i) {
    const double gap = std::log(measured[i] / predicted[i]);
    if (!std::isfinite(gap)) continue;
    at.push_back(step[i]);
    off.push_back(gap);
  }
  const double most = std::log1p(tolerance);
  for (std::size_t i = 0; i < off.size(); ++i) {
    ++out.points;
    out.within += std::abs(off[i]) <= most;
    if (std::abs(off[i]) > std::abs(out.worst) || i == 0) {
      out.worst = off[i];
      out.worst_step = at[i];
    }
    const bool stays = i + 1 == off.size() || std::abs(off[i + 1]) > most;
    if (std::isnan(out.from) && std::abs(off[i]) > most && stays) out.from = at[i];
    out.last = off[i];
  }
  return out;
}

std::string parting_words(const Parting& p, double tolerance) {
  if (p.points == 0) return "nothing to compare";
  const auto side = [](double off) {
    const double percent = 100.0 * std::expm1(std::abs(off));
    if (percent < 0.05) return std::string("equal");
    // A factor reads better than 400 %.
    if (percent > 100.5)
      return printed(off > 0.0 ? "%.3g times the prediction" : "1/%.3g of the prediction", std::exp(std::abs(off)));
    const double shown = off > 0.0 ? percent : -100.0 * std::expm1(off);
    return printed(shown < 10.0 ? "%.2g %%" : "%.0f %%", shown) + (off > 0.0 ? " above" : " below");
  };
  const std::string within =
      printed("within %.3g %% at %zu of %zu traced steps", 100.0 * tolerance, p.within, p.points);
  const std::string furthest = printed("furthest off at step %.0f: ", p.worst_step) + side(p.worst);
  if (std::isnan(p.from)) return within + "; " + furthest;
  return printed("parts at step %.0f; ", p.from) + furthest + "; at the end: " + side(p.last) + "; " + within;
}

}  // namespace scalevec::experiments
